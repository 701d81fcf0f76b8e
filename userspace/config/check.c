#include "config/check.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/names.h"
#include "config/parse.h"
#include "config/value.h"

static const struct place document;

struct tags {
	const char *list; /* key of the list */
	const char **names;
	size_t count;
};

/* The default tag, unless there is one. */
static void name_it(struct report *report, char **tag, const char *type, size_t index)
{
	if (!*tag && asprintf(tag, "%s-%zu", type, index) < 0) {
		*tag = NULL;
		report->result = -ENOMEM;
	}
}

static void name_all(struct report *report, struct config *config)
{
	for (size_t i = 0; i < config->inbound_count; i++)
		name_it(report, &config->inbounds[i].tag, "tproxy", i);
	for (size_t i = 0; i < config->outbound_count; i++)
		name_it(report, &config->outbounds[i].tag,
			outbound_type_names[config->outbounds[i].type], i);
}

/* Room for the @count tags of @list. */
static void tags_init(struct report *report, struct tags *tags, const char *list, size_t count)
{
	*tags = (struct tags){ .list = list, .names = calloc(count + 1, sizeof(*tags->names)) };
	if (tags->names)
		tags->count = count;
	else
		report->result = -ENOMEM;
}

/* That the tag at @index is not that of an element before it. */
static void check_tag(struct report *report, const struct tags *tags, size_t index)
{
	struct place list = { .up = &document, .key = tags->list };
	struct place element = { .up = &list, .index = index };
	struct place place = { .up = &element, .key = "tag" };

	for (size_t i = 0; i < index; i++) {
		if (strcmp(tags->names[i], tags->names[index]) != 0)
			continue;
		report_error(report, AT_VALUE(&place), "tag \"%s\" is already that of /%s/%zu",
			     tags->names[i], tags->list, i);
		return;
	}
}

static void check_inbound_tags(struct report *report, const struct config *config)
{
	struct tags tags;

	tags_init(report, &tags, "inbounds", config->inbound_count);
	for (size_t i = 0; i < tags.count; i++) {
		tags.names[i] = config->inbounds[i].tag;
		check_tag(report, &tags, i);
	}
	free(tags.names);
}

static void check_final(struct report *report, const struct tags *tags, struct draft *draft)
{
	struct place route = { .up = &document, .key = "route" };
	struct place place = { .up = &route, .key = "final" };
	const char *near;
	int index;

	if (!draft->route_final)
		return;
	index = names_find(tags->names, tags->count, draft->route_final);
	if (index >= 0) {
		draft->config.final_outbound = (size_t)index;
		return;
	}
	near = names_near(tags->names, tags->count, draft->route_final);
	report_error(report, AT_VALUE(&place), "no outbound has the tag \"%s\"%s%s%s",
		     draft->route_final, near ? " (did you mean \"" : "", near ? near : "",
		     near ? "\"?)" : "");
}

static void check_outbound_tags(struct report *report, struct draft *draft)
{
	struct tags tags;

	tags_init(report, &tags, "outbounds", draft->config.outbound_count);
	for (size_t i = 0; i < tags.count; i++) {
		tags.names[i] = draft->config.outbounds[i].tag;
		check_tag(report, &tags, i);
	}
	if (tags.count) /* none: the list was refused as a whole */
		check_final(report, &tags, draft);
	free(tags.names);
}

/* What was refused has no family, no port or no network, and overlaps with nothing. */
static bool overlaps(const struct config_inbound *a, const struct config_inbound *b)
{
	const struct addr *x = &a->listen, *y = &b->listen;

	if (!x->family || !y->family || !x->port || x->port != y->port ||
	    !(a->network & b->network))
		return false;
	if ((x->family == AF_INET6 && addr_is_unspecified(x)) ||
	    (y->family == AF_INET6 && addr_is_unspecified(y)))
		return true; /* one socket for both families */
	if (x->family != y->family)
		return false;
	return addr_is_unspecified(x) || addr_is_unspecified(y) || addr_equal(x, y);
}

static void check_listeners(struct report *report, const struct config *config)
{
	struct place list = { .up = &document, .key = "inbounds" };

	for (size_t i = 1; i < config->inbound_count; i++) {
		struct place element = { .up = &list, .index = i };
		struct place place = { .up = &element, .key = "listen_port" };

		for (size_t j = 0; j < i; j++) {
			if (!overlaps(&config->inbounds[i], &config->inbounds[j]))
				continue;
			report_error(report, AT_VALUE(&place),
				     "/inbounds/%zu listens on this address and port already", j);
			break;
		}
	}
}

/* Without outbounds everything is connected directly. */
static void make_outbound(struct report *report, struct config *config)
{
	struct config_outbound *outbound = calloc(1, sizeof(*outbound));

	free(config->outbounds); /* of an empty list */
	config->outbounds = outbound;
	if (!outbound) {
		report->result = -ENOMEM;
		return;
	}
	config->outbound_count = 1;
	parse_defaults(report, SECTION_OUTBOUND, outbound);
	outbound->tag = strdup(outbound_type_names[OUTBOUND_DIRECT]);
	if (!outbound->tag)
		report->result = -ENOMEM;
}

static uint64_t quarter_of_ram(void)
{
	const struct schema_key *key = schema_find(SECTION_RELAY, "memory_limit");
	long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
	uint64_t min, max, bytes = 0;

	if (value_size(key->min, &min) < 0 || value_size(key->max, &max) < 0)
		return 0;
	if (pages > 0 && page_bytes > 0)
		bytes = (uint64_t)pages * (uint64_t)page_bytes / 4;
	return bytes < min ? min : bytes > max ? max : bytes;
}

void check_document(struct report *report, const json_t *root, struct draft *draft)
{
	const json_t *outbounds = json_object_get(root, "outbounds");
	struct config *config = &draft->config;

	if (!config->outbound_count && (!outbounds || json_is_array(outbounds)) &&
	    !json_array_size(outbounds))
		make_outbound(report, config);
	if (!config->relay.memory_limit)
		config->relay.memory_limit = quarter_of_ram();
	name_all(report, config);
	if (report->result == -ENOMEM)
		return;
	check_inbound_tags(report, config);
	check_outbound_tags(report, draft);
	check_listeners(report, config);
}
