#include "ctl/filter.h"
#include <errno.h>
#include <string.h>

#define TAGS_SHOWN 8

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

int filter_take(struct call *call, struct filter *ret)
{
	*ret = (struct filter){ 0 };
	if (take_address(call, "source", &ret->source) ||
	    take_address(call, "destination", &ret->destination))
		return -EINVAL;
	return take_outbound(call, ret);
}

bool filter_matches(const struct filter *filter, const struct addr *source,
		    const struct addr *destination, const char *outbound)
{
	return (!filter->outbound || !strcmp(filter->outbound, outbound)) &&
	       is_host(source, &filter->source) && is_host(destination, &filter->destination);
}
