#include "ctl/describe.h"

static json_t *describe_side(const struct flow_info *info, int side)
{
	return json_pack("{s:I, s:I, s:s, s:I}", "bytes", (json_int_t)info->side[side].bytes,
			 "kernel_bytes", (json_int_t)info->side[side].kernel_bytes, "gate",
			 info->side[side].gate, "spills", (json_int_t)info->side[side].spills);
}

json_t *describe_flow(const struct flow_info *info)
{
	char source[ADDR_STRLEN], destination[ADDR_STRLEN];

	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:I}", "id",
			 (json_int_t)info->id, "state", flow_state_names[info->state], "inbound",
			 info->inbound, "source", addr_format(&info->source, source), "destination",
			 addr_format(&info->destination, destination), "outbound", info->outbound,
			 "method", info->method, "refused", info->refused, "up",
			 describe_side(info, CLIENT), "down", describe_side(info, UPSTREAM),
			 "age_ms", (json_int_t)info->age_ms);
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
