/* forward - others' questions to a server, and its whole answers back: for whoever speaks DNS to clients.
 *
 * What is asked is the question alone, with an id of our own and without EDNS options, so equal questions are
 * asked once, and answers live in a cache. The answer is fitted to each who asked: its id, the case of its
 * letters, EDNS only if it spoke that.
 */
#pragma once
#include "dns/message.h"
#include "dns/raw_cache.h"
#include "dns/resolver.h"

#define DNS_FORWARDS_MAX 1024 /* who wait, of one resolver */

struct dns_forward;
/* @answer is whole, SERVFAIL if need be, and gone after the callback. */
typedef void dns_forwarded_fn(struct dns_forward *forward, const struct dns_raw *answer);

/* Embedded in who asks; it is free again when @done runs. @done and @query are set by who asks. */
struct dns_forward {
	struct list link; /* of those who wait for the same answer */
	dns_forwarded_fn *done;
	struct dns_query query;        /* by dns_query_read() */
	struct dns_forwards *forwards; /* NULL: not asked */
};

/* 1: *@ret_now is the answer, good until the next call of this resolver, and @forward->done will not run;
 * 0: @forward->done runs once, later; -EAGAIN: too many wait, -ENOMEM: neither, SERVFAIL is in order
 * (dns_query_refuse()). A query that is to be refused is answered so. Of the types that dns.strategy leaves
 * out (ipv4_only: AAAA) there are no records. */
int resolver_forward(struct resolver *resolver, struct dns_forward *forward, size_t server,
		     struct dns_raw *ret_now);
/* @forward->done will not run. The question goes on for the cache. Not asked is fine, zeroed as well. */
void resolver_forward_cancel(struct dns_forward *forward);
