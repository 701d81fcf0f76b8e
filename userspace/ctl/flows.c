#include "ctl/flows.h"
#include "base/names.h"
#include "ctl/describe.h"
#include <string.h>

#define TAGS_SHOWN 8

struct filter {
	const char *method, *outbound;   /* NULL: any */
	struct addr source, destination; /* AF_UNSPEC: any */
};

static int take_method(struct call *call, struct filter *filter)
{
	static const char *const methods[] = { "copy", "splice", "sockmap", "packet" };

	filter->method = call_string(call, "method");
	if (filter->method && names_find(methods, ARRAY_SIZE(methods), filter->method) < 0)
		return call_no_such(call, "method", filter->method, methods, ARRAY_SIZE(methods));
	return 0;
}

static int take_address(struct call *call, const char *name, struct addr *ret)
{
	const char *text = call_string(call, name);

	if (text && addr_parse(text, 0, ret))
		return call_fail(call, "\"%s\": not an IP address: %.64s", name, text);
	return 0;
}

static int take_outbound(struct call *call, struct filter *filter)
{
	const struct flow_config *config = call->context->config;
	const char *tags[TAGS_SHOWN];
	size_t count = 0;

	filter->outbound = call_string(call, "outbound");
	if (!filter->outbound)
		return 0;
	for (size_t i = 0; i < config->outbound_count; i++) {
		if (!strcmp(config->outbounds[i].tag, filter->outbound))
			return 0;
		if (count < TAGS_SHOWN)
			tags[count++] = config->outbounds[i].tag;
	}
	return call_no_such(call, "outbound", filter->outbound, tags, count);
}

static bool is_host(const struct addr *addr, const struct addr *wanted)
{
	struct addr host = *addr;

	host.port = 0;
	host.scope = 0;
	return wanted->family == AF_UNSPEC || addr_equal(&host, wanted);
}

static bool matches(const struct flow_info *info, const struct filter *filter)
{
	return (!filter->method || !strcmp(filter->method, info->method)) &&
	       (!filter->outbound || !strcmp(filter->outbound, info->outbound)) &&
	       is_host(&info->source, &filter->source) &&
	       is_host(&info->destination, &filter->destination);
}

/* One at a time: 65536 flows as one tree would take hundreds of megabytes. */
static bool put_flows(const struct ask_part *part, const struct filter *filter, bool first,
		      struct out *out)
{
	for (size_t i = 0; i < part->flow_count; i++) {
		json_t *flow;

		if (!matches(&part->flows[i], filter))
			continue;
		flow = describe_flow(&part->flows[i]);
		if (!first)
			out_put(out, ",", 1);
		first = false;
		out_json(out, flow);
		json_decref(flow);
	}
	return first;
}

int flows_list(struct call *call, struct out *out)
{
	const struct ask *ask = call->ask;
	struct filter filter = { 0 };
	bool first = true;

	if (take_method(call, &filter) || take_address(call, "source", &filter.source) ||
	    take_address(call, "destination", &filter.destination) || take_outbound(call, &filter))
		return -1;
	for (unsigned i = 0; i < ask->count; i++)
		if (ask->parts[i].result)
			return call_fail(call, "out of memory");
	out_put(out, "[", 1);
	for (unsigned i = 0; i < ask->count; i++)
		first = put_flows(&ask->parts[i], &filter, first, out);
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
