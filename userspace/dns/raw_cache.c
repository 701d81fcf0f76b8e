#include "dns/raw_cache.h"
#include <stdlib.h>
#include <string.h>
#include "dns/key.h"
#include "dns/wire.h"

struct entry {
	struct list bucket, used;
	uint64_t stored_ms, expires_ms;
	struct dns_raw_key key;
	size_t size;
	uint8_t message[];
};

void dns_raw_key_init(struct dns_raw_key *key, uint64_t seed, size_t server,
		      const struct dns_query *query)
{
	*key = (struct dns_raw_key){ .server = server,
				     .type = query->type,
				     .class = query->class,
				     .flags = query->flags,
				     .length = query->wire_length };
	if (query->dnssec_ok)
		key->flags |= DNS_RAW_DNSSEC;
	for (size_t i = 0; i < key->length; i++)
		key->name[i] = wire_lower(query->wire[i]);
	seed ^= (uint64_t)server << 48 ^ (uint64_t)key->flags << 32 ^ (uint64_t)key->class << 16 ^
		key->type;
	key->hash = dns_hash(seed, key->name, key->length);
}

bool dns_raw_key_equal(const struct dns_raw_key *a, const struct dns_raw_key *b)
{
	return a->hash == b->hash && a->server == b->server && a->type == b->type &&
	       a->class == b->class && a->flags == b->flags && a->length == b->length &&
	       !memcmp(a->name, b->name, a->length);
}

void dns_raw_cache_init(struct dns_raw_cache *cache, size_t capacity)
{
	*cache = (struct dns_raw_cache){ .capacity = capacity };
	list_init(&cache->used);
	for (size_t i = 0; i < DNS_RAW_BUCKETS; i++)
		list_init(&cache->buckets[i]);
}

static void drop(struct dns_raw_cache *cache, struct entry *entry)
{
	list_unlink(&entry->bucket);
	list_unlink(&entry->used);
	cache->count--;
	free(entry);
}

static struct entry *oldest(struct dns_raw_cache *cache)
{
	return container_of(cache->used.next, struct entry, used);
}

void dns_raw_cache_deinit(struct dns_raw_cache *cache)
{
	while (cache->count)
		drop(cache, oldest(cache));
}

static struct entry *find(struct dns_raw_cache *cache, const struct dns_raw_key *key)
{
	list_for_each (pos, &cache->buckets[key->hash % DNS_RAW_BUCKETS]) {
		struct entry *entry = container_of(pos, struct entry, bucket);

		if (dns_raw_key_equal(&entry->key, key))
			return entry;
	}
	return NULL;
}

size_t dns_raw_cache_get(struct dns_raw_cache *cache, const struct dns_raw_key *key,
			 uint64_t now_ms, uint8_t *ret)
{
	struct entry *entry = find(cache, key);

	if (!entry)
		return 0;
	if (entry->expires_ms <= now_ms) {
		drop(cache, entry);
		return 0;
	}
	list_unlink(&entry->used);
	list_append(&cache->used, &entry->used);
	memcpy(ret, entry->message, entry->size);
	dns_answer_age(ret, entry->size, (uint32_t)((now_ms - entry->stored_ms) / 1000));
	return entry->size;
}

void dns_raw_cache_put(struct dns_raw_cache *cache, const struct dns_raw_key *key,
		       const struct dns_raw *answer, uint32_t ttl_s, uint64_t now_ms)
{
	struct entry *entry;

	if (!cache->capacity || !ttl_s || answer->size > DNS_RAW_MAX)
		return;
	entry = find(cache, key);
	if (entry)
		drop(cache, entry);
	else if (cache->count == cache->capacity)
		drop(cache, oldest(cache));
	entry = malloc(sizeof(*entry) + answer->size);
	if (!entry)
		return;
	entry->stored_ms = now_ms;
	entry->expires_ms = now_ms + (uint64_t)ttl_s * 1000;
	entry->key = *key;
	entry->size = answer->size;
	memcpy(entry->message, answer->bytes, answer->size);
	list_append(&cache->buckets[key->hash % DNS_RAW_BUCKETS], &entry->bucket);
	list_append(&cache->used, &entry->used);
	cache->count++;
}
