/* domains - which matches name a domain, or one above it: a hash table over all rules.
 *
 * Names are pointed to, not copied: the configuration outlives the table.
 */
#pragma once
#include "route/chains.h"

struct route_domain {
	const char *name;
	uint32_t length, hash;
};

/* A name has two lists in @chains: 2 * its index for itself, and the next for what is below it. */
struct route_domains {
	struct route_domain *list;
	uint32_t count;
	uint32_t *slots, mask; /* index into @list, or ROUTE_END */
	struct route_domain_use {
		uint32_t list, id;
	} * uses; /* until the table is sealed */
	size_t use_count;
	struct route_chains chains;
};

/* For @count calls of route_domains_add() and _add_suffix(). */
int route_domains_init(struct route_domains *domains, size_t count);
void route_domains_deinit(struct route_domains *domains);
/* Ids never go down from call to call. */
void route_domains_add(struct route_domains *domains, const char *name, uint32_t id);
/* "example.org": it and what is below; ".example.org": what is below. */
void route_domains_add_suffix(struct route_domains *domains, const char *suffix, uint32_t id);
int route_domains_seal(struct route_domains *domains);
/* The list in @chains that @name (NULL is fine) belongs to, or ROUTE_END. */
uint32_t route_domains_find(const struct route_domains *domains, const char *name);
