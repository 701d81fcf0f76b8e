/* prefixes - which matches name a network around an address: sorted, each linked up. */
#pragma once
#include "config/rules.h"
#include "net/addr.h"
#include "route/chains.h"

#define ROUTE_PREFIX_KEY 17 /* the family, then the address: one order for both families */

struct route_prefix {
	uint8_t key[ROUTE_PREFIX_KEY];
	uint8_t bits; /* of the key */
};

struct route_prefixes {
	struct route_prefix *list; /* by key, the wider first; its index is its list in @chains */
	uint32_t count;
	struct route_prefix_use {
		struct route_prefix prefix;
		uint32_t id;
	} * uses; /* until the table is sealed */
	size_t use_count;
	struct route_chains chains;
};

/* For @count calls of route_prefixes_add(). */
int route_prefixes_init(struct route_prefixes *prefixes, size_t count);
void route_prefixes_deinit(struct route_prefixes *prefixes);
void route_prefixes_add(struct route_prefixes *prefixes, const struct config_prefix *prefix,
			uint32_t id);
int route_prefixes_seal(struct route_prefixes *prefixes);
/* The list in @chains that @addr belongs to, or ROUTE_END. */
uint32_t route_prefixes_find(const struct route_prefixes *prefixes, const struct addr *addr);
