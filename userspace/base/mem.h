/* mem - pools of equal objects, and a budget of bytes. Both belong to one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/list.h"

/* Objects come from chunks; one that is empty again goes back to the system, but for the last. Freed objects are
 * handed out again first. */
struct mem_pool {
	size_t size;
	size_t used;      /* objects handed out */
	size_t chunks;    /* that hold them */
	struct list room; /* chunks with free objects */
};

void mem_pool_init(struct mem_pool *pool, size_t object_size); /* of 16 KiB at most */
void mem_pool_deinit(struct mem_pool *pool);                   /* every object is back */
void *mem_pool_get(struct mem_pool *pool);                     /* zeroed; NULL: out of memory */
void mem_pool_put(struct mem_pool *pool, void *object);

struct mem_budget {
	uint64_t limit, used;
};

/* What may still be taken: nothing, if it was overdrawn. */
static inline uint64_t mem_budget_left(const struct mem_budget *budget)
{
	return budget->used < budget->limit ? budget->limit - budget->used : 0;
}

static inline bool mem_budget_take(struct mem_budget *budget, uint64_t bytes)
{
	if (mem_budget_left(budget) < bytes)
		return false;
	budget->used += bytes;
	return true;
}

static inline void mem_budget_give(struct mem_budget *budget, uint64_t bytes)
{
	budget->used -= bytes;
}
