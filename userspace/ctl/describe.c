#include "ctl/describe.h"

static json_t *describe_side(const struct flow_info *info, int side)
{
	return json_pack("{s:I, s:I, s:s, s:I}", "bytes", (json_int_t)info->side[side].bytes,
			 "kernel_bytes", (json_int_t)info->side[side].kernel_bytes, "gate",
			 info->side[side].gate, "spills", (json_int_t)info->side[side].spills);
}

static json_t *describe_attempt(const struct trace_attempt *attempt)
{
	char address[ADDR_STRLEN] = "", outcome[128];

	if (attempt->step == TRACE_CONNECT)
		addr_format(&attempt->addr, address);
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "step", trace_step_names[attempt->step],
			 "address", address, "interface", attempt->interface, "start_ms",
			 (json_int_t)attempt->start_ms, "took_ms", (json_int_t)attempt->took_ms,
			 "result", trace_outcome(attempt, outcome, sizeof(outcome)));
}

json_t *describe_attempts(const struct trace_attempt *attempts, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < count; i++) {
		if (!json_array_append_new(list, describe_attempt(&attempts[i])))
			continue;
		json_decref(list);
		return NULL;
	}
	return list;
}

json_t *describe_flow(const struct flow_info *info)
{
	char source[ADDR_STRLEN], destination[ADDR_STRLEN], missed[RELAY_MISSED_STRLEN];

	return json_pack(
		"{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:b, s:o, s:o, "
		"s:I, "
		"s:o}",
		"id", (json_int_t)info->id, "state", flow_state_names[info->state], "inbound",
		info->inbound, "source", addr_format(&info->source, source), "destination",
		addr_format(&info->destination, destination), "domain", info->domain, "protocol",
		info->protocol ? protocol_names[info->protocol] : "", "rule",
		info->rule == CONFIG_NONE ? (json_int_t)-1 : (json_int_t)info->rule, "outbound",
		info->outbound, "method", info->method, "refused", info->refused, "packet",
		info->packet, "missed", relay_missed_format(info->missed, missed), "adopted",
		(int)info->adopted, "up", describe_side(info, CLIENT), "down",
		describe_side(info, UPSTREAM), "age_ms", (json_int_t)info->age_ms, "attempts",
		describe_attempts(info->attempts, info->attempt_count));
}

json_t *describe_event(const struct flow_info *info)
{
	const char *reason = info->end == END_NONE ? "" : flow_end_names[info->end];
	json_t *event = json_pack("{s:s}", "event", info->end == END_NONE ? "open" : "close");
	json_t *flow = describe_flow(info);

	if (!flow || json_object_update(event, flow) ||
	    json_object_set_new(event, "reason", json_string(reason))) {
		json_decref(event);
		event = NULL;
	}
	json_decref(flow);
	return event;
}
