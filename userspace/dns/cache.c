#include "dns/cache.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MAX 65536 /* 1 MiB; beyond that the chains grow */

/* As long as its name and its addresses need. */
struct entry {
	struct list bucket, used;
	uint64_t expires_ms;
	uint32_t hash;
	uint8_t type, status, count, length;
	size_t server;
	struct addr addrs[]; /* then the name */
};
_Static_assert(DNS_NAME_MAX <= UINT8_MAX && DNS_ADDRS_MAX <= UINT8_MAX, "fields of struct entry");

static char *name_of(struct entry *entry)
{
	return (char *)&entry->addrs[entry->count];
}

static bool matches(struct entry *entry, const struct dns_key *key)
{
	return entry->hash == key->hash && entry->server == key->server &&
	       entry->type == key->type && entry->length == key->length &&
	       !memcmp(name_of(entry), key->name, key->length);
}

int dns_cache_init(struct dns_cache *cache, size_t capacity)
{
	size_t buckets = 1;

	*cache = (struct dns_cache){ .capacity = capacity };
	list_init(&cache->used);
	if (!capacity)
		return 0;
	while (buckets < capacity && buckets < BUCKETS_MAX)
		buckets *= 2;
	cache->buckets = calloc(buckets, sizeof(*cache->buckets));
	if (!cache->buckets)
		return -ENOMEM;
	for (size_t i = 0; i < buckets; i++)
		list_init(&cache->buckets[i]);
	cache->mask = buckets - 1;
	return 0;
}

static void drop(struct dns_cache *cache, struct entry *entry)
{
	list_unlink(&entry->bucket);
	list_unlink(&entry->used);
	cache->count--;
	free(entry);
}

static struct entry *oldest(struct dns_cache *cache)
{
	return container_of(cache->used.next, struct entry, used);
}

void dns_cache_deinit(struct dns_cache *cache)
{
	while (cache->count)
		drop(cache, oldest(cache));
	free(cache->buckets);
	*cache = (struct dns_cache){ 0 };
}

static struct entry *find(struct dns_cache *cache, const struct dns_key *key)
{
	if (!cache->capacity)
		return NULL;
	list_for_each (pos, &cache->buckets[key->hash & cache->mask]) {
		struct entry *entry = container_of(pos, struct entry, bucket);

		if (matches(entry, key))
			return entry;
	}
	return NULL;
}

bool dns_cache_get(struct dns_cache *cache, const struct dns_key *key, uint64_t now_ms,
		   struct dns_answer *ret)
{
	struct entry *entry = find(cache, key);

	if (!entry)
		return false;
	if (entry->expires_ms <= now_ms) {
		drop(cache, entry);
		return false;
	}
	list_unlink(&entry->used);
	list_append(&cache->used, &entry->used);
	*ret = (struct dns_answer){ .status = entry->status,
				    .count = entry->count,
				    .ttl_s = (uint32_t)((entry->expires_ms - now_ms + 999) / 1000),
				    .cached = true };
	memcpy(ret->addrs, entry->addrs, entry->count * sizeof(entry->addrs[0]));
	return true;
}

void dns_cache_put(struct dns_cache *cache, const struct dns_key *key,
		   const struct dns_answer *answer, uint64_t now_ms)
{
	size_t addrs_size = answer->count * sizeof(answer->addrs[0]);
	struct entry *entry;

	if (!cache->capacity || !answer->ttl_s)
		return;
	entry = find(cache, key);
	if (entry)
		drop(cache, entry);
	else if (cache->count == cache->capacity)
		drop(cache, oldest(cache));
	entry = malloc(sizeof(*entry) + addrs_size + key->length);
	if (!entry)
		return;
	*entry = (struct entry){ .expires_ms = now_ms + (uint64_t)answer->ttl_s * 1000,
				 .hash = key->hash,
				 .type = (uint8_t)key->type,
				 .status = (uint8_t)answer->status,
				 .count = (uint8_t)answer->count,
				 .length = (uint8_t)key->length,
				 .server = key->server };
	memcpy(entry->addrs, answer->addrs, addrs_size);
	memcpy(name_of(entry), key->name, key->length);
	list_append(&cache->buckets[key->hash & cache->mask], &entry->bucket);
	list_append(&cache->used, &entry->used);
	cache->count++;
}
