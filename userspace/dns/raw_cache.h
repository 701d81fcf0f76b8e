/* raw_cache - whole answers until they expire, the least recently used of them leaves first. */
#pragma once
#include "base/hash.h"
#include "base/lru.h"
#include "dns/message.h"

/* What a forwarded question is about: everything that its answer depends on. */
struct dns_raw_key {
	size_t server;
	uint32_t hash;
	uint16_t type, class, flags; /* RD, AD, CD, of a header; DNS_RAW_DNSSEC */
	uint8_t length;
	uint8_t name[DNS_WIRE_NAME_MAX]; /* in lower case */
};
#define DNS_RAW_DNSSEC 1U

void dns_raw_key_init(struct dns_raw_key *key, const struct hash_key *secret, size_t server,
		      const struct dns_query *query);
bool dns_raw_key_equal(const struct dns_raw_key *a, const struct dns_raw_key *b);

struct dns_raw {
	const uint8_t *bytes;
	size_t size;
};

/* Longer ones are not kept, so the memory is bounded by the capacity. */
#define DNS_RAW_MAX 2048

/* The size of what is put into @ret (DNS_RAW_MAX bytes), with the TTLs that are left; 0: unknown. */
size_t dns_raw_cache_get(struct lru *cache, const struct dns_raw_key *key, uint64_t now_ms,
			 uint8_t *ret);
/* For @ttl_s seconds; 0: not at all. Without memory it stays unknown, which is no error. */
void dns_raw_cache_put(struct lru *cache, const struct dns_raw_key *key,
		       const struct dns_raw *answer, uint32_t ttl_s, uint64_t now_ms);
