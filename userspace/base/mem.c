#include "base/mem.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif

#define CHUNK_BYTES ((size_t)64 << 10) /* and where it is aligned to: an object finds its chunk */

union node {
	void *next;
	max_align_t align;
};

struct chunk {
	struct list link; /* pool->room, unless it is full */
	union node *free;
	size_t used;
};

void mem_pool_init(struct mem_pool *pool, size_t object_size)
{
	size_t unit = sizeof(union node);

	assert(object_size <= CHUNK_BYTES / 4);
	*pool = (struct mem_pool){ .size = (object_size + unit - 1) / unit * unit };
	list_init(&pool->room);
}

#ifdef HAS_ASAN /* one allocation an object, so that a use after free is seen */
void mem_pool_deinit(struct mem_pool *pool)
{
	assert(!pool->used);
}

void *mem_pool_get(struct mem_pool *pool)
{
	pool->used++;
	return calloc(1, pool->size);
}

void mem_pool_put(struct mem_pool *pool, void *object)
{
	pool->used--;
	free(object);
}
#else
static struct chunk *map_aligned(void)
{
	char *at = mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	size_t before;

	if (at == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)at % CHUNK_BYTES;
	if (before)
		munmap(at, before);
	munmap(at + before + CHUNK_BYTES, CHUNK_BYTES - before);
	return (struct chunk *)(void *)(at + before);
}

static struct chunk *add_chunk(struct mem_pool *pool)
{
	size_t first = (sizeof(struct chunk) + sizeof(union node) - 1) / sizeof(union node) *
		       sizeof(union node);
	size_t count = (CHUNK_BYTES - first) / pool->size;
	struct chunk *chunk = map_aligned();

	if (!chunk)
		return NULL;
	for (size_t i = count; i--;) {
		union node *object = (union node *)((char *)chunk + first + i * pool->size);

		object->next = chunk->free;
		chunk->free = object;
	}
	list_init(&chunk->link);
	list_append(&pool->room, &chunk->link);
	pool->chunks++;
	return chunk;
}

static void drop_chunk(struct mem_pool *pool, struct chunk *chunk)
{
	list_unlink(&chunk->link);
	munmap(chunk, CHUNK_BYTES);
	pool->chunks--;
}

void mem_pool_deinit(struct mem_pool *pool)
{
	assert(!pool->used);
	while (pool->chunks)
		drop_chunk(pool, container_of(pool->room.next, struct chunk, link));
}

void *mem_pool_get(struct mem_pool *pool)
{
	struct chunk *chunk = list_empty(&pool->room)
				      ? add_chunk(pool)
				      : container_of(pool->room.next, struct chunk, link);
	union node *object;

	if (!chunk)
		return NULL;
	object = chunk->free;
	chunk->free = object->next;
	if (!chunk->free)
		list_unlink(&chunk->link);
	chunk->used++;
	pool->used++;
	return memset(object, 0, pool->size);
}

void mem_pool_put(struct mem_pool *pool, void *object)
{
	struct chunk *chunk = (struct chunk *)((uintptr_t)object & ~(CHUNK_BYTES - 1));
	union node *node = object;

	if (!chunk->free)
		list_prepend(&pool->room, &chunk->link); /* fill those that are nearly full */
	node->next = chunk->free;
	chunk->free = node;
	chunk->used--;
	pool->used--;
	if (!chunk->used && pool->room.next != pool->room.prev)
		drop_chunk(pool, chunk);
}
#endif
