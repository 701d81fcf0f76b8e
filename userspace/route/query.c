#include "route/query.h"
#include "route/match.h"
#include <assert.h>

static void add_destination(struct route_query *query, const struct addr *addr)
{
	uint32_t list = route_prefixes_find(&query->rules->destinations, addr);

	if (list != ROUTE_END)
		query->destinations[query->destination_count++] = list;
}

void route_query_init(struct route_query *query, const struct route_rules *rules,
		      const struct route_meta *meta)
{
	assert(meta->resolved_count <= ROUTE_RESOLVED_MAX);
	query->rules = rules;
	query->meta = meta;
	query->domain = route_domains_find(&rules->domains, meta->domain);
	query->source = route_prefixes_find(&rules->sources, &meta->source);
	query->source_gate = route_prefixes_find(&rules->source_gates, &meta->source);
	query->destination_count = 0;
	query->asked = ROUTE_END; /* nothing yet */
	query->found = 0;
	query->has_pairs = false;
	query->work.data = NULL;
	add_destination(query, &meta->destination);
	for (size_t i = 0; i < meta->resolved_count; i++)
		add_destination(query, &meta->resolved[i]);
}

void route_query_deinit(struct route_query *query)
{
	route_regex_work_deinit(&query->work);
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t ask_tables(const struct route_query *query, uint32_t from)
{
	const struct route_rules *rules = query->rules;
	uint32_t id = smaller(
		route_chains_next(&rules->domains.chains, query->domain, from),
		route_chains_next(&rules->source_gates.chains, query->source_gate, from));

	for (unsigned i = 0; i < query->destination_count; i++)
		id = smaller(id, route_chains_next(&rules->destinations.chains,
						   query->destinations[i], from));
	return id;
}

/* The nearest match that a table names for this connection. */
static uint32_t next_found(struct route_query *query, uint32_t from)
{
	if (from < query->asked || from > query->found) {
		query->found = ask_tables(query, from);
		query->asked = from;
	}
	return query->found;
}

uint32_t route_query_first(struct route_query *query, uint32_t first, uint32_t end)
{
	uint32_t found = next_found(query, first);

	for (uint32_t id = first; id < end; id++) {
		if (found < id)
			found = next_found(query, id);
		id = smaller(found, query->rules->always[id]);
		if (id >= end)
			break;
		if (route_match_holds(query, id))
			return id;
	}
	return ROUTE_END;
}
