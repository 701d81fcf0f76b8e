#include "ctl/udp.h"
#include "ctl/filter.h"

static json_t *describe_side(const struct udp_info *info, int side)
{
	return json_pack("{s:I, s:I, s:I}", "datagrams", (json_int_t)info->datagrams[side],
			 "translated", (json_int_t)info->translated[side], "bytes",
			 (json_int_t)info->bytes[side]);
}

static json_t *describe(const struct udp_info *info)
{
	char source[ADDR_STRLEN], destination[ADDR_STRLEN];
	json_t *session = json_pack(
		"{s:I, s:s, s:s, s:s, s:s, s:b, s:b, s:b, s:s, s:s, s:I, s:s, s:s}", "id",
		(json_int_t)info->id, "state", udp_state_names[info->state], "inbound",
		info->inbound, "source", addr_format(&info->source, source), "destination",
		addr_format(&info->destination, destination), "bound", (int)info->bound, "replied",
		(int)info->replied, "adopted", (int)info->adopted, "domain", info->domain,
		"protocol", info->protocol ? protocol_names[info->protocol] : "", "rule",
		info->rule == CONFIG_NONE ? (json_int_t)-1 : (json_int_t)info->rule, "outbound",
		info->outbound, "method", info->method);
	json_t *numbers = json_pack(
		"{s:o, s:o, s:I, s:I, s:I, s:I}", "up", describe_side(info, CLIENT), "down",
		describe_side(info, UPSTREAM), "dropped", (json_int_t)info->dropped, "age_ms",
		(json_int_t)info->age_ms, "idle_ms", (json_int_t)info->idle_ms, "timeout_ms",
		(json_int_t)info->timeout_ms);

	if (!session || !numbers || json_object_update(session, numbers)) {
		json_decref(session);
		session = NULL;
	}
	json_decref(numbers);
	return session;
}

/* One at a time, as flows are listed. */
static bool put_sessions(const struct ask_part *part, const struct filter *filter, bool first,
			 struct out *out)
{
	for (size_t i = 0; i < part->session_count; i++) {
		const struct udp_info *info = &part->sessions[i];

		if (filter_matches(filter, &info->source, &info->destination, info->outbound))
			first = out_element(out, describe(info), first);
	}
	return first;
}

int udp_list(struct call *call, struct out *out)
{
	const struct ask *ask = call->ask;
	struct filter filter;
	bool first = true;

	if (filter_take(call, &filter))
		return -1;
	for (unsigned i = 0; i < ask->count; i++)
		if (ask->parts[i].result)
			return call_fail(call, "out of memory");
	out_put(out, "[", 1);
	for (unsigned i = 0; i < ask->count; i++)
		first = put_sessions(&ask->parts[i], &filter, first, out);
	out_put(out, "]", 1);
	return 0;
}
