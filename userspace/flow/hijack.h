/* hijack - clients whose questions are answered here instead of where they wanted to go. */
#pragma once
#include "dns/message.h"
#include "flow/flow.h"

/* Gives the flow its @dns, for FLOW_DNS. -ENOMEM. @wake is called with the flow. */
int hijack_start(struct tcp_flow *flow, void (*wake)(void *flow));
/* END_NONE: it goes on. */
enum flow_end hijack_run(struct tcp_flow *flow);
/* Which server a question is for, by dns.rules and what else is known (@meta; its domain is not looked at). */
size_t hijack_server(const struct route_rules *rules, const struct route_meta *meta,
		     const struct dns_query *query);
