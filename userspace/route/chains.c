#include "route/chains.h"
#include <errno.h>
#include <stdlib.h>

int route_chains_init(struct route_chains *chains, size_t lists, size_t ids)
{
	*chains = (struct route_chains){ .start = calloc(lists + 1, sizeof(*chains->start)),
					 .up = calloc(lists + 1, sizeof(*chains->up)),
					 .ids = calloc(ids + 1, sizeof(*chains->ids)) };
	if (chains->start && chains->up && chains->ids)
		return 0;
	route_chains_deinit(chains);
	return -ENOMEM;
}

void route_chains_deinit(struct route_chains *chains)
{
	free(chains->start);
	free(chains->up);
	free(chains->ids);
	*chains = (struct route_chains){ 0 };
}

static uint32_t next_in_list(const struct route_chains *chains, uint32_t list, uint32_t from)
{
	uint32_t low = chains->start[list], end = chains->start[list + 1], high = end;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (chains->ids[middle] < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low < end ? chains->ids[low] : ROUTE_END;
}

bool route_chains_have(const struct route_chains *chains, uint32_t list, uint32_t id)
{
	for (; list != ROUTE_END; list = chains->up[list])
		if (next_in_list(chains, list, id) == id)
			return true;
	return false;
}

uint32_t route_chains_next(const struct route_chains *chains, uint32_t list, uint32_t from)
{
	uint32_t nearest = ROUTE_END;

	for (; list != ROUTE_END; list = chains->up[list]) {
		uint32_t id = next_in_list(chains, list, from);

		if (id < nearest)
			nearest = id;
	}
	return nearest;
}
