/* cache - answers until they expire, the least recently used of them leaves first. */
#pragma once
#include "base/lru.h"
#include "dns/key.h"

bool dns_cache_get(struct lru *cache, const struct dns_key *key, uint64_t now_ms,
		   struct dns_answer *ret);
/* For ttl_s seconds; 0: not at all. Without memory it stays unknown, which is no error. */
void dns_cache_put(struct lru *cache, const struct dns_key *key, const struct dns_answer *answer,
		   uint64_t now_ms);
