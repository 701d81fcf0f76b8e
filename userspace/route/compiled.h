/* compiled - what a configuration becomes: numbered matches and the tables that find them.
 *
 * Ids are places in @matches: the rules of route, then those of dns, then those of each rule set,
 * then what is inside logical ones. Nothing changes after route_rules_new(), so all threads may
 * read it.
 */
#pragma once
#include "route/domains.h"
#include "route/keywords.h"
#include "route/prefixes.h"
#include "route/regex.h"
#include "route/route.h"

struct route_match {
	const struct config_match *config;
	uint32_t parent, place; /* the logical one that it is in, or ROUTE_END; its index there */
	uint32_t rules;         /* logical: id of its first */
	bool has_destination, has_source; /* conditions of that group */
	bool gated_by_source; /* its source_ip_cidr is in @source_gates, not in @sources */
	struct route_keyword *keywords;
	struct route_regex *regexes;
};

struct route_range {
	uint32_t first, end;
};

struct route_rules {
	const struct config *config;
	struct route_match *matches;
	uint32_t count, capacity;
	struct route_range routes, dns, *sets;
	struct route_domains domains;
	/* A match that needs an entry of @domains, @destinations or @source_gates to hold is found by
	 * these. @always[id] is the nearest of the others that is not below @id, or ROUTE_END. */
	struct route_prefixes destinations, sources, source_gates;
	uint32_t *always;
	pcre2_match_context *limits;
	struct route_needs needs;
};
