#include "route/match.h"
#include "route/private.h"
#include <string.h>

static bool in_ports(const struct config_ports *list, size_t count, uint16_t port)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].first <= port && port <= list[i].last)
			return true;
	return false;
}

static bool inbound_holds(const struct config_match *config, const struct route_meta *meta)
{
	for (size_t i = 0; i < config->inbounds.count; i++)
		if (config->inbounds.list[i] == meta->inbound)
			return true;
	return !config->inbounds.count;
}

static bool mark_holds(const struct config_match *config, const struct route_meta *meta)
{
	for (size_t i = 0; i < config->marks.count; i++)
		if (config->marks.list[i] == meta->mark)
			return true;
	return !config->marks.count;
}

static bool mac_holds(const struct config_match *config, const struct route_meta *meta)
{
	if (!config->source_mac.count)
		return true;
	for (size_t i = 0; meta->source_mac && i < config->source_mac.count; i++) {
		const struct config_mac *mac = &config->source_mac.list[i];

		if (!memcmp(mac->bytes, meta->source_mac, sizeof(mac->bytes)))
			return true;
	}
	return false;
}

static bool interface_holds(const struct config_match *config, const struct route_meta *meta)
{
	if (!config->interfaces.count)
		return true;
	for (size_t i = 0; meta->interface && i < config->interfaces.count; i++)
		if (!strcmp(config->interfaces.list[i], meta->interface))
			return true;
	return false;
}

static bool masks_hold(const struct config_match *config, const struct route_meta *meta)
{
	return (!config->networks || config->networks & meta->network) &&
	       (!config->protocols || config->protocols >> meta->protocol & 1) &&
	       (!config->dscp || (meta->dscp < 64 && config->dscp >> meta->dscp & 1));
}

static bool ports_hold(const struct config_match *config, const struct route_meta *meta)
{
	return (!config->ports.count ||
		in_ports(config->ports.list, config->ports.count, meta->destination.port)) &&
	       (!config->source_ports.count ||
		in_ports(config->source_ports.list, config->source_ports.count, meta->source.port));
}

static bool source_holds(const struct route_query *query, const struct route_match *match,
			 uint32_t id)
{
	const struct route_rules *rules = query->rules;

	if (!match->has_source)
		return true;
	if (match->gated_by_source)
		return route_chains_have(&rules->source_gates.chains, query->source_gate, id);
	return (match->config->source_ip_is_private && route_is_private(&query->meta->source)) ||
	       route_chains_have(&rules->sources.chains, query->source, id);
}

static bool any_private(const struct route_meta *meta)
{
	if (route_is_private(&meta->destination))
		return true;
	for (size_t i = 0; i < meta->resolved_count; i++)
		if (route_is_private(&meta->resolved[i]))
			return true;
	return false;
}

static bool keyword_holds(struct route_query *query, const struct route_match *match)
{
	if (!match->keywords || !query->meta->domain)
		return false;
	if (!query->has_pairs)
		route_pairs_init(&query->pairs, query->meta->domain);
	query->has_pairs = true;
	return route_keywords_hold(match->keywords, match->config->domain_keyword.count,
				   &query->pairs);
}

static bool set_holds(struct route_query *query, const struct config_match *config)
{
	for (size_t i = 0; i < config->rule_sets.count; i++) {
		const struct route_range *set = &query->rules->sets[config->rule_sets.list[i]];

		if (route_query_first(query, set->first, set->end) != ROUTE_END)
			return true;
	}
	return false;
}

static bool regex_holds(struct route_query *query, const struct route_match *match)
{
	size_t count = query->meta->domain ? match->config->domain_regex.count : 0;

	for (size_t i = 0; i < count; i++)
		if (route_regex_holds(&match->regexes[i], query->rules->limits, &query->work,
				      query->meta->domain))
			return true;
	return false;
}

/* What costs least first. */
static bool destination_holds(struct route_query *query, const struct route_match *match,
			      uint32_t id)
{
	const struct route_rules *rules = query->rules;

	if (!match->has_destination)
		return true;
	if (route_chains_have(&rules->domains.chains, query->domain, id))
		return true;
	for (unsigned i = 0; i < query->destination_count; i++)
		if (route_chains_have(&rules->destinations.chains, query->destinations[i], id))
			return true;
	return (match->config->ip_is_private && any_private(query->meta)) ||
	       keyword_holds(query, match) || set_holds(query, match->config) ||
	       regex_holds(query, match);
}

static bool logical_holds(struct route_query *query, const struct route_match *match)
{
	const struct config_match *config = match->config;

	for (uint32_t i = 0; i < config->rules.count; i++)
		if (route_match_holds(query, match->rules + i) == config->any)
			return config->any;
	return !config->any;
}

static bool fields_hold(struct route_query *query, const struct route_match *match, uint32_t id)
{
	const struct config_match *config = match->config;
	const struct route_meta *meta = query->meta;

	return masks_hold(config, meta) && ports_hold(config, meta) &&
	       inbound_holds(config, meta) && mark_holds(config, meta) && mac_holds(config, meta) &&
	       interface_holds(config, meta) && source_holds(query, match, id) &&
	       destination_holds(query, match, id);
}

bool route_match_holds(struct route_query *query, uint32_t id)
{
	const struct route_match *match = &query->rules->matches[id];
	bool holds = match->config->logical ? logical_holds(query, match)
					    : fields_hold(query, match, id);

	return holds != match->config->invert;
}
