#include "base/lru.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define BUCKETS_MAX 65536 /* 1 MiB; beyond that the chains grow */

int lru_init(struct lru *lru, size_t capacity)
{
	size_t buckets = 1;

	*lru = (struct lru){ .capacity = capacity };
	list_init(&lru->used);
	if (!capacity)
		return 0;
	while (buckets < capacity && buckets < BUCKETS_MAX)
		buckets *= 2;
	lru->buckets = calloc(buckets, sizeof(*lru->buckets));
	if (!lru->buckets)
		return -ENOMEM;
	for (size_t i = 0; i < buckets; i++)
		list_init(&lru->buckets[i]);
	lru->mask = buckets - 1;
	return 0;
}

static void drop(struct lru *lru, struct lru_entry *entry)
{
	list_unlink(&entry->bucket);
	list_unlink(&entry->used);
	lru->count--;
	free(entry);
}

static struct lru_entry *oldest(struct lru *lru)
{
	return container_of(lru->used.next, struct lru_entry, used);
}

void lru_deinit(struct lru *lru)
{
	while (lru->count)
		drop(lru, oldest(lru));
	free(lru->buckets);
	*lru = (struct lru){ 0 };
}

static struct lru_entry *find(struct lru *lru, uint32_t hash, lru_match_fn *match, const void *key)
{
	if (!lru->capacity)
		return NULL;
	list_for_each (pos, &lru->buckets[hash & lru->mask]) {
		struct lru_entry *entry = container_of(pos, struct lru_entry, bucket);

		if (entry->hash == hash && match(entry, key))
			return entry;
	}
	return NULL;
}

struct lru_entry *lru_get(struct lru *lru, uint32_t hash, lru_match_fn *match, const void *key,
			  uint64_t now_ms)
{
	struct lru_entry *entry = find(lru, hash, match, key);

	if (!entry)
		return NULL;
	if (entry->expires_ms <= now_ms) {
		drop(lru, entry);
		return NULL;
	}
	list_unlink(&entry->used);
	list_append(&lru->used, &entry->used);
	return entry;
}

void lru_make_room(struct lru *lru, uint32_t hash, lru_match_fn *match, const void *key)
{
	struct lru_entry *entry = find(lru, hash, match, key);

	if (entry)
		drop(lru, entry);
	else if (lru->count && lru->count == lru->capacity)
		drop(lru, oldest(lru));
}

void lru_put(struct lru *lru, struct lru_entry *entry)
{
	assert(lru->count < lru->capacity);
	list_append(&lru->buckets[entry->hash & lru->mask], &entry->bucket);
	list_append(&lru->used, &entry->used);
	lru->count++;
}
