#include "route/query.h"

static void merge_tls(struct route_options *into, const struct config_route_options *from)
{
	bool turned_on = from->tls_fragment && !into->tls_fragment;

	/* One without a delay of its own has the default in it: that is for who has none yet. */
	if (from->has_tls_delay || (turned_on && !into->tls_fragment_fallback_delay_ms))
		into->tls_fragment_fallback_delay_ms = from->tls_fragment_fallback_delay_ms;
	into->tls_fragment |= from->tls_fragment;
	into->tls_record_fragment |= from->tls_record_fragment;
}

static void merge(struct route_options *into, const struct config_route_options *from)
{
	if (from->override_address)
		into->override_address = from->override_address;
	if (from->override_port)
		into->override_port = from->override_port;
	if (from->has_network_strategy)
		into->network_strategy = from->network_strategy;
	if (from->has_fallback_delay)
		into->fallback_delay_ms = from->fallback_delay_ms;
	if (from->has_udp_timeout)
		into->udp_timeout_ms = from->udp_timeout_ms;
	into->has_network_strategy |= from->has_network_strategy;
	into->has_fallback_delay |= from->has_fallback_delay;
	into->has_udp_timeout |= from->has_udp_timeout;
	into->udp_connect |= from->udp_connect;
	into->udp_disable_domain_unmapping |= from->udp_disable_domain_unmapping;
	merge_tls(into, from);
}

/* The rule at which the decision stops, or ROUTE_END. */
static uint32_t find_last(struct route_query *query, uint32_t from, struct route_options *options)
{
	const struct config *config = query->rules->config;
	uint32_t end = query->rules->routes.end, id;

	while ((id = route_query_first(query, from, end)) != ROUTE_END) {
		const struct config_rule *rule = &config->rules.list[id];

		if (rule->action == ACTION_ROUTE || rule->action == ACTION_ROUTE_OPTIONS)
			merge(options, &rule->options);
		if (rule->action != ACTION_ROUTE_OPTIONS)
			return id;
		from = id + 1;
	}
	return ROUTE_END;
}

void route_decide(const struct route_rules *rules, const struct route_meta *meta, size_t from,
		  struct route_verdict *verdict)
{
	const struct config *config = rules->config;
	struct route_query query;
	uint32_t id = ROUTE_END;

	if (from < rules->routes.end) {
		route_query_init(&query, rules, meta);
		id = find_last(&query, (uint32_t)from, &verdict->options);
		route_query_deinit(&query);
	}
	verdict->action = ACTION_ROUTE;
	verdict->rule = config->rules.count;
	verdict->config = NULL;
	verdict->outbound = config->final_outbound;
	if (id == ROUTE_END)
		return;
	verdict->rule = id;
	verdict->config = &config->rules.list[id];
	verdict->action = verdict->config->action;
	verdict->outbound = verdict->action == ACTION_ROUTE ? verdict->config->outbound
							    : CONFIG_NONE;
}

size_t route_dns_server(const struct route_rules *rules, const struct route_meta *meta)
{
	const struct config_dns *dns = &rules->config->dns;
	struct route_query query;
	uint32_t id;

	if (rules->dns.first == rules->dns.end)
		return dns->final;
	route_query_init(&query, rules, meta);
	id = route_query_first(&query, rules->dns.first, rules->dns.end);
	route_query_deinit(&query);
	return id == ROUTE_END ? dns->final : dns->rules.list[id - rules->dns.first].server;
}

struct route_needs route_rules_need(const struct route_rules *rules)
{
	return rules->needs;
}
