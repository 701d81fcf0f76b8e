/* info - what is told of a flow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/names.h"
#include "flow/worker.h"

NAME_TABLE(flow_state_names, FLOW_STATE_COUNT, "route", "dns", "dial", "kick", "relay", "parked",
	   "close");
NAME_TABLE(flow_end_names, END_COUNT, "none", "done", "rejected", "dropped", "unresolved",
	   "bad-address", "loop", "client-gone", "dial-failed", "dial-timeout", "address-gone",
	   "interface-gone", "client-reset", "upstream-reset", "unreachable", "evicted", "backlog",
	   "no-memory", "idle", "half-closed-idle", "killed", "shutdown", "reset", "detached");

enum log_level flow_end_level(enum flow_end end)
{
	switch (end) {
	case END_LOOP:
	case END_BACKLOG:
		return LOG_WARN;
	case END_ADDRESS_GONE:
	case END_INTERFACE_GONE:
		return LOG_INFO;
	default:
		return LOG_DEBUG;
	}
}

void flow_log(const struct tcp_flow *f, enum log_level level, const char *format, ...)
{
	char source[ADDR_STRLEN], destination[ADDR_STRLEN], text[512];
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_write(level, "flow", "#%llu %s -> %s %s: %s", (unsigned long long)f->id,
		  addr_format(&f->source, source), addr_format(&f->destination, destination),
		  f->outbound ? f->outbound->tag : "-", text);
}

static const char *const gate_names[] = { "new", "shut", "open", "spilled", "local", "broken" };

void flow_info_set_attempts(struct flow_info *ret, const struct trace *trace)
{
	if (!trace->count)
		return;
	ret->attempts = malloc(trace->count * sizeof(*trace->list));
	if (!ret->attempts)
		return;
	memcpy(ret->attempts, trace->list, trace->count * sizeof(*trace->list));
	ret->attempt_count = trace->count;
}

void flow_info_deinit(struct flow_info *info)
{
	free(info->attempts);
	info->attempts = NULL;
	info->attempt_count = 0;
}

void tcp_flow_describe(const struct tcp_flow *f, struct flow_info *ret)
{
	const struct relay *relay = &f->relay;

	*ret = (struct flow_info){ .id = f->id,
				   .age_ms = f->worker->loop.now_ms - f->start_ms,
				   .taken_ms = -1,
				   .state = f->state,
				   .end = f->end,
				   .inbound = f->inbound->tag,
				   .outbound = f->outbound ? f->outbound->tag : "",
				   .source = f->source,
				   .destination = f->destination,
				   .protocol = f->protocol,
				   .rule = f->rule,
				   .method = relay_method_name(relay),
				   .refused = relay_refusal_names[relay->refused],
				   .packet = relay_untaken_names[relay->untaken],
				   .missed = relay->missed };
	for (int side = 0; side < SIDES; side++) {
		ret->side[side].gate = "";
		if (!relay->env)
			continue;
		ret->side[side].bytes = relay_bytes(relay, side);
		ret->side[side].kernel_bytes = relay_kernel_bytes(relay, side);
		if (relay->gate) {
			ret->side[side].gate = gate_names[gate_state(relay->gate, side)];
			ret->side[side].spills = gate_dir(relay->gate, side)->spills;
		}
	}
	if (f->domain)
		snprintf(ret->domain, sizeof(ret->domain), "%s", f->domain);
	flow_info_set_attempts(ret, &f->trace);
}
