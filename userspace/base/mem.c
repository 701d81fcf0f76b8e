#include "base/mem.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif

#define CHUNK_OBJECTS 64

union node {
	void *next;
	max_align_t align;
};

void mem_pool_init(struct mem_pool *pool, size_t object_size)
{
	size_t unit = sizeof(union node);

	*pool = (struct mem_pool){ .size = (object_size + unit - 1) / unit * unit };
}

void mem_pool_deinit(struct mem_pool *pool)
{
	assert(!pool->used);
	while (pool->chunks) {
		union node *chunk = pool->chunks;

		pool->chunks = chunk->next;
		free(chunk);
	}
	pool->free = NULL;
}

static bool add_chunk(struct mem_pool *pool)
{
	union node *chunk = malloc(sizeof(*chunk) + CHUNK_OBJECTS * pool->size);

	if (!chunk)
		return false;
	chunk->next = pool->chunks;
	pool->chunks = chunk;
	for (size_t i = CHUNK_OBJECTS; i--;) {
		union node *object = (union node *)((char *)(chunk + 1) + i * pool->size);

		object->next = pool->free;
		pool->free = object;
	}
	return true;
}

#ifdef HAS_ASAN /* one allocation an object, so that a use after free is seen */
void *mem_pool_get(struct mem_pool *pool)
{
	(void)add_chunk;
	pool->used++;
	return calloc(1, pool->size);
}

void mem_pool_put(struct mem_pool *pool, void *object)
{
	pool->used--;
	free(object);
}
#else
void *mem_pool_get(struct mem_pool *pool)
{
	union node *object;

	if (!pool->free && !add_chunk(pool))
		return NULL;
	object = pool->free;
	pool->free = object->next;
	pool->used++;
	return memset(object, 0, pool->size);
}

void mem_pool_put(struct mem_pool *pool, void *object)
{
	union node *node = object;

	node->next = pool->free;
	pool->free = node;
	pool->used--;
}
#endif
