#include "route/layout.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define REASON_SIZE 256

static bool has_domains(const struct config_match *config)
{
	return config->domain.count || config->domain_suffix.count;
}

/* Conditions of the destination that no table finds. */
static bool has_other_destination(const struct config_match *config)
{
	return config->ip_is_private || config->domain_keyword.count ||
	       config->domain_regex.count || config->rule_sets.count;
}

/* Whether it needs an entry of @domains or @destinations to hold. */
static bool is_gated_by_destination(const struct config_match *config)
{
	return !config->logical && !config->invert && !has_other_destination(config) &&
	       (has_domains(config) || config->ip_cidr.count);
}

static bool is_gated_by_source(const struct config_match *config)
{
	return !config->logical && !config->invert && !config->source_ip_is_private &&
	       config->source_ip_cidr.count && !is_gated_by_destination(config);
}

static void note_needs(struct route_needs *needs, const struct config_match *config)
{
	needs->source_mac |= config->source_mac.count > 0;
	needs->interface |= config->interfaces.count > 0;
	needs->mark |= config->marks.count > 0;
	needs->dscp |= config->dscp != 0;
}

static int init_tables(struct route_rules *rules)
{
	size_t domains = 0, destinations = 0, sources = 0;
	int r;

	for (uint32_t id = 0; id < rules->count; id++) {
		const struct config_match *config = rules->matches[id].config;

		domains += config->domain.count + config->domain_suffix.count;
		destinations += config->ip_cidr.count;
		sources += config->source_ip_cidr.count;
	}
	r = route_domains_init(&rules->domains, domains);
	if (!r)
		r = route_prefixes_init(&rules->destinations, destinations);
	if (!r)
		r = route_prefixes_init(&rules->sources, sources);
	return r ? r : route_prefixes_init(&rules->source_gates, sources);
}

static void add_to_tables(struct route_rules *rules, uint32_t id)
{
	struct route_match *match = &rules->matches[id];
	const struct config_match *config = match->config;
	struct route_prefixes *sources = match->gated_by_source ? &rules->source_gates
								: &rules->sources;

	for (size_t i = 0; i < config->domain.count; i++)
		route_domains_add(&rules->domains, config->domain.list[i], id);
	for (size_t i = 0; i < config->domain_suffix.count; i++)
		route_domains_add_suffix(&rules->domains, config->domain_suffix.list[i], id);
	for (size_t i = 0; i < config->ip_cidr.count; i++)
		route_prefixes_add(&rules->destinations, &config->ip_cidr.list[i], id);
	for (size_t i = 0; i < config->source_ip_cidr.count; i++)
		route_prefixes_add(sources, &config->source_ip_cidr.list[i], id);
}

static int make_keywords(struct route_match *match)
{
	size_t count = match->config->domain_keyword.count;

	if (!count)
		return 0;
	match->keywords = calloc(count, sizeof(*match->keywords));
	if (!match->keywords)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		match->keywords[i] = route_keyword_of(match->config->domain_keyword.list[i]);
	return 0;
}

static int make_regexes(struct route_rules *rules, uint32_t id, char *reason)
{
	struct route_match *match = &rules->matches[id];
	size_t count = match->config->domain_regex.count, used;
	char error[REASON_SIZE / 2];
	int r;

	if (!count)
		return 0;
	match->regexes = calloc(count, sizeof(*match->regexes));
	if (!match->regexes)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		r = route_regex_compile(match->config->domain_regex.list[i], &match->regexes[i],
					error, sizeof(error));
		if (!r)
			continue;
		if (r == -EINVAL) {
			used = route_layout_name(rules, id, reason, REASON_SIZE);
			snprintf(reason + used, REASON_SIZE - used, ".domain_regex[%zu]: %s", i,
				 error);
		}
		return r;
	}
	return 0;
}

static int make_match(struct route_rules *rules, uint32_t id, char *reason)
{
	struct route_match *match = &rules->matches[id];
	const struct config_match *config = match->config;
	int r;

	match->has_source = config->source_ip_is_private || config->source_ip_cidr.count;
	match->gated_by_source = is_gated_by_source(config);
	match->has_destination = has_domains(config) || config->ip_cidr.count ||
				 has_other_destination(config);
	add_to_tables(rules, id);
	note_needs(&rules->needs, config);
	r = make_keywords(match);
	return r ? r : make_regexes(rules, id, reason);
}

static int seal_tables(struct route_rules *rules)
{
	int r = route_domains_seal(&rules->domains);

	if (!r)
		r = route_prefixes_seal(&rules->destinations);
	if (!r)
		r = route_prefixes_seal(&rules->sources);
	return r ? r : route_prefixes_seal(&rules->source_gates);
}

static int list_always(struct route_rules *rules)
{
	uint32_t nearest = ROUTE_END;

	rules->always = calloc((size_t)rules->count + 1, sizeof(*rules->always));
	if (!rules->always)
		return -ENOMEM;
	for (uint32_t id = rules->count; id--;) {
		const struct route_match *match = &rules->matches[id];

		if (!match->gated_by_source && !is_gated_by_destination(match->config))
			nearest = id;
		rules->always[id] = nearest;
	}
	return 0;
}

static int build(struct route_rules *rules, char *reason)
{
	int r = route_layout(rules, reason, REASON_SIZE);

	if (!r)
		r = init_tables(rules);
	for (uint32_t id = 0; !r && id < rules->count; id++)
		r = make_match(rules, id, reason);
	if (!r)
		r = seal_tables(rules);
	if (!r)
		r = list_always(rules);
	if (r)
		return r;
	rules->limits = route_regex_limits();
	return rules->limits ? 0 : -ENOMEM;
}

int route_rules_new(struct route_rules **ret, const struct config *config, char *reason)
{
	struct route_rules *rules = calloc(1, sizeof(*rules));
	int r;

	if (!rules)
		return -ENOMEM;
	rules->config = config;
	r = build(rules, reason);
	if (r < 0) {
		route_rules_free(rules);
		return r;
	}
	*ret = rules;
	return 0;
}

static void free_match(struct route_match *match)
{
	free(match->keywords);
	for (size_t i = 0; match->regexes && i < match->config->domain_regex.count; i++)
		route_regex_deinit(&match->regexes[i]);
	free(match->regexes);
}

void route_rules_free(struct route_rules *rules)
{
	if (!rules)
		return;
	for (uint32_t id = 0; id < rules->count; id++)
		free_match(&rules->matches[id]);
	free(rules->matches);
	free(rules->sets);
	free(rules->always);
	route_domains_deinit(&rules->domains);
	route_prefixes_deinit(&rules->destinations);
	route_prefixes_deinit(&rules->sources);
	route_prefixes_deinit(&rules->source_gates);
	pcre2_match_context_free(rules->limits);
	free(rules);
}
