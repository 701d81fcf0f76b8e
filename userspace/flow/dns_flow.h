/* dns_flow - a hijacked connection: DNS over TCP (RFC 1035 4.2.2, RFC 7766) with its client, each question to
 * the server that dns.rules name for it.
 *
 * Up to 16 questions are under way, answers leave as they come. It ends when the client has ended, or has not
 * asked for 10 s, and all that it asked is answered; what is no question ends it as well. It takes 14 KiB, and
 * of answers that the client does not read at most 64 KiB besides those that were under way.
 */
#pragma once
#include "dns/message.h"
#include "dns/resolver.h"
#include "net/stream.h"
#include "route/route.h"

struct dns_flow;

struct dns_flow_request {
	struct loop *loop;
	struct resolver *resolver;
	const struct route_rules *rules;
	struct route_meta
		meta; /* what it points to outlives the dns_flow; its domain is not looked at */
	struct stream *client;     /* its events end in dns_flow_run() */
	void (*wake)(void *owner); /* dns_flow_run() is next; the dns_flow may be freed in it */
	void *owner;
};

/* dns_flow_run() is next. -ENOMEM. */
int dns_flow_start(struct dns_flow **ret, const struct dns_flow_request *request);
/* 1: done, the client is to be closed; 0: goes on, at an event or wake(); -errno of its socket, -ETIMEDOUT: it
 * does not read its answers. */
int dns_flow_run(struct dns_flow *flow);
void dns_flow_free(struct dns_flow *flow); /* NULL is fine */
/* Which server a question is for, by dns.rules and what else is known (@meta; its domain is not looked at). */
size_t dns_flow_server(const struct route_rules *rules, const struct route_meta *meta,
		       const struct dns_query *query);
uint64_t dns_flow_questions(const struct dns_flow *flow);
