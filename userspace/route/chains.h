/* chains - lists of the ids of matches, one a key; each leads on to the list of the next wider key.
 *
 * What a looked-up key belongs to is the narrowest list and all above it. Ids in a list are sorted.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTE_END UINT32_MAX /* no list, no id */

struct route_chains {
	uint32_t *start; /* of a list in @ids; the next one's start is its end */
	uint32_t *up;    /* the next wider list, or ROUTE_END */
	uint32_t *ids;
};

int route_chains_init(struct route_chains *chains, size_t lists, size_t ids); /* zeroed */
void route_chains_deinit(struct route_chains *chains);
/* Whether @id is in @list or above. */
bool route_chains_have(const struct route_chains *chains, uint32_t list, uint32_t id);
/* The smallest id that is not below @from, in @list and above; ROUTE_END: none. */
uint32_t route_chains_next(const struct route_chains *chains, uint32_t list, uint32_t from);
