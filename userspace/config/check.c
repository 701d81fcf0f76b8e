#include "config/check.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "config/detour.h"
#include "config/dns.h"
#include "config/group.h"
#include "config/match.h"
#include "config/parse.h"
#include "config/peers.h"
#include "config/tags.h"
#include "config/value.h"

static const struct place document;
static const struct place outbounds = { .up = &document, .key = "outbounds" };

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
	for (size_t i = 0; i < config->dns.server_count; i++)
		name_it(report, &config->dns.servers[i].tag,
			dns_server_type_names[config->dns.servers[i].type], i);
}

static void check_inbounds(struct report *report, const struct config *config)
{
	static const struct place inbounds = { .up = &document, .key = "inbounds" };
	struct tags tags = { .key = "tag" };

	tags_init(report, &tags, "/inbounds", config->inbound_count);
	for (size_t i = 0; i < tags.count; i++)
		tags.names[i] = config->inbounds[i].tag;
	tags_check(report, &tags, &inbounds);
	tags_deinit(&tags);
}

static void check_interfaces(struct report *report, const struct config *config)
{
	static const struct place interfaces = { .up = &document, .key = "interfaces" };
	struct tags tags = { .key = "name" };

	tags_init(report, &tags, "/interfaces", config->interface_count);
	for (size_t i = 0; i < tags.count; i++)
		tags.names[i] = config->interfaces[i].name;
	tags_check(report, &tags, &interfaces);
	tags_deinit(&tags);
}

/* Settles which interfaces an outbound may try; its strategy is negative if it was not given. */
static void check_networks(struct report *report, const json_t *root, struct config *config,
			   size_t index)
{
	struct config_outbound *outbound = &config->outbounds[index];
	struct place element = { .up = &outbounds, .index = index };
	struct place place = { .up = &element, .key = "fallback_network_type" };
	const json_t *object = json_array_get(json_object_get(root, outbounds.key), index);
	bool given = (int)outbound->network_strategy >= 0;
	bool refused = !given && json_object_get(object, "network_strategy");

	outbound->has_network_strategy = given || outbound->network_types;
	if (!given)
		outbound->network_strategy = NETWORK_DEFAULT;
	if (!refused && outbound->fallback_network_types &&
	    outbound->network_strategy != NETWORK_FALLBACK)
		report_error(report, AT_KEY(&place), "only with network_strategy \"%s\"",
			     network_strategy_names[NETWORK_FALLBACK]);
}

/* What refers to outbounds by their tags, and what they refer to. */
static void check_outbounds(struct report *report, const json_t *root, struct draft *draft)
{
	struct place route = { .up = &document, .key = "route" };
	struct place final = { .up = &route, .key = "final" };
	struct config *config = &draft->config;
	struct tags tags = { .key = "tag", .what = "outbound" };

	tags_init(report, &tags, "/outbounds", config->outbound_count);
	for (size_t i = 0; i < tags.count; i++) {
		tags.names[i] = config->outbounds[i].tag;
		check_networks(report, root, config, i);
		group_check_proxy(report, &config->outbounds[i], i);
	}
	tags_check(report, &tags, &outbounds);
	if (tags.count && draft->route_final) /* none: the list was refused as a whole */
		config->final_outbound = tags_find(report, &tags, draft->route_final, &final);
	if (tags.count)
		detour_check(report, root, config, &tags);
	if (report->result != -ENOMEM)
		dns_check(report, root, draft, &tags);
	tags_deinit(&tags);
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
	const json_t *list = json_object_get(root, "outbounds");
	struct config *config = &draft->config;

	if (!config->outbound_count && (!list || json_is_array(list)) && !json_array_size(list))
		make_outbound(report, config);
	dns_complete(report, root, config);
	if (!config->relay.memory_limit)
		config->relay.memory_limit = quarter_of_ram();
	name_all(report, config);
	if (report->result == -ENOMEM)
		return;
	check_interfaces(report, config);
	check_inbounds(report, config);
	check_listeners(report, config);
	check_outbounds(report, root, draft);
	peers_check(report, config);
	if (report->result != -ENOMEM)
		match_check(report, root, config);
}
