/* idle - a flow that relays and moves nothing: keep-alive probes, idle_timeout, half_close_timeout. It owns
 * the flow's timer from FLOW_RELAY on, and ends the flow by tcp_flow_kill(). */
#pragma once
#include "flow/flow.h"

void idle_begin(struct tcp_flow *flow);
/* The time without a byte counts from now: one direction has ended, and another limit holds. */
void idle_restart(struct tcp_flow *flow);
bool idle_half_closed(const struct tcp_flow *flow);
