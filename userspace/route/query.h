/* query - one connection asked about: what the tables say of its name and addresses. */
#pragma once
#include "route/compiled.h"

struct route_query {
	const struct route_rules *rules;
	const struct route_meta *meta;
	uint32_t domain, source, source_gate; /* lists of the tables; ROUTE_END: none */
	uint32_t destinations[ROUTE_RESOLVED_MAX + 1];
	unsigned destination_count;
	/* The last answer of the tables: no id of theirs is in [@asked, @found). Rule sets ask nearby. */
	uint32_t asked, found;
	bool has_pairs; /* @pairs of the domain were made */
	struct route_pairs pairs;
	struct route_regex_work work;
};

void route_query_init(struct route_query *query, const struct route_rules *rules,
		      const struct route_meta *meta);
void route_query_deinit(struct route_query *query);
/* The first match of [@first, @end) that holds, or ROUTE_END. */
uint32_t route_query_first(struct route_query *query, uint32_t first, uint32_t end);
