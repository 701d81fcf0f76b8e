/* cache - answers until they expire, the least recently used of them leaves first. */
#pragma once
#include "dns/key.h"

struct dns_cache {
	size_t capacity, count, mask;
	struct list *buckets; /* mask + 1 of them; NULL: no capacity */
	struct list used;     /* the oldest use first */
};

int dns_cache_init(struct dns_cache *cache, size_t capacity); /* -ENOMEM */
void dns_cache_deinit(struct dns_cache *cache);               /* zeroed is fine */
bool dns_cache_get(struct dns_cache *cache, const struct dns_key *key, uint64_t now_ms,
		   struct dns_answer *ret);
/* For ttl_s seconds; 0: not at all. Without memory it stays unknown, which is no error. */
void dns_cache_put(struct dns_cache *cache, const struct dns_key *key,
		   const struct dns_answer *answer, uint64_t now_ms);
