#include "ctl/flows.h"
#include "base/names.h"
#include "ctl/describe.h"
#include "ctl/filter.h"
#include <string.h>

struct wanted {
	struct filter filter;
	const char *method; /* NULL: any */
};

static int take_method(struct call *call, struct wanted *wanted)
{
	static const char *const methods[] = { "copy", "splice", "sockmap", "packet" };

	wanted->method = call_string(call, "method");
	if (wanted->method && names_find(methods, ARRAY_SIZE(methods), wanted->method) < 0)
		return call_no_such(call, "method", wanted->method, methods, ARRAY_SIZE(methods));
	return 0;
}

static bool matches(const struct flow_info *info, const struct wanted *wanted)
{
	return (!wanted->method || !strcmp(wanted->method, info->method)) &&
	       filter_matches(&wanted->filter, &info->source, &info->destination, info->outbound);
}

/* One at a time: 65536 flows as one tree would take hundreds of megabytes. */
static bool put_flows(const struct ask_part *part, const struct wanted *wanted, bool first,
		      struct out *out)
{
	for (size_t i = 0; i < part->flow_count; i++) {
		if (matches(&part->flows[i], wanted))
			first = out_element(out, describe_flow(&part->flows[i]), first);
	}
	return first;
}

int flows_list(struct call *call, struct out *out)
{
	const struct ask *ask = call->ask;
	struct wanted wanted = { 0 };
	bool first = true;

	if (take_method(call, &wanted) || filter_take(call, &wanted.filter))
		return -1;
	for (unsigned i = 0; i < ask->count; i++)
		if (ask->parts[i].result)
			return call_fail(call, "out of memory");
	out_put(out, "[", 1);
	for (unsigned i = 0; i < ask->count; i++)
		first = put_flows(&ask->parts[i], &wanted, first, out);
	out_put(out, "]", 1);
	return 0;
}

int flows_show(struct call *call, struct out *out)
{
	const struct ask *ask = call->ask;
	uint64_t id = (uint64_t)call_number(call, "flow");

	for (unsigned i = 0; i < ask->count; i++)
		for (size_t j = 0; j < ask->parts[i].flow_count; j++) {
			json_t *flow;

			if (ask->parts[i].flows[j].id != id)
				continue;
			flow = describe_flow(&ask->parts[i].flows[j]);
			out_json(out, flow);
			json_decref(flow);
			return 0;
		}
	return call_fail(call, "no flow %" JSON_INTEGER_FORMAT, call_number(call, "flow"));
}
