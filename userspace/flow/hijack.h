/* hijack - clients whose questions are answered here instead of where they wanted to go. */
#pragma once
#include "flow/flow.h"

/* Gives the flow its @dns, for FLOW_DNS. -ENOMEM. @wake is called with the flow. */
int hijack_start(struct tcp_flow *flow, void (*wake)(void *flow));
/* END_NONE: it goes on. */
enum flow_end hijack_run(struct tcp_flow *flow);
