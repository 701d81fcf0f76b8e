/* lru - a hash table of bounded size whose entries expire; the least recently used one makes room. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/list.h"

/* First member of what is kept, which comes from malloc() and is freed here. */
struct lru_entry {
	struct list bucket, used;
	uint64_t expires_ms;
	uint32_t hash;
};

struct lru {
	size_t capacity, count, mask;
	struct list *buckets; /* mask + 1 of them; NULL: no capacity */
	struct list used;     /* the oldest use first */
};

typedef bool lru_match_fn(const struct lru_entry *entry, const void *key);

int lru_init(struct lru *lru, size_t capacity); /* -ENOMEM; with no capacity it keeps nothing */
void lru_deinit(struct lru *lru);               /* zeroed is fine */
/* The entry that @match finds for @key, which counts as a use; NULL: unknown, or expired and gone. */
struct lru_entry *lru_get(struct lru *lru, uint32_t hash, lru_match_fn *match, const void *key,
			  uint64_t now_ms);
/* Drops the entry for @key, and the oldest if it would not fit: room for lru_put(). */
void lru_make_room(struct lru *lru, uint32_t hash, lru_match_fn *match, const void *key);
/* After lru_make_room(), with a capacity. @entry->hash and expires_ms are set. */
void lru_put(struct lru *lru, struct lru_entry *entry);
