#include "dns/cache.h"
#include <stdlib.h>
#include <string.h>

/* As long as its name and its addresses need. */
struct entry {
	struct lru_entry lru;
	uint8_t type, status, count, length;
	size_t server;
	struct addr addrs[]; /* then the name */
};
_Static_assert(DNS_NAME_MAX <= UINT8_MAX && DNS_ADDRS_MAX <= UINT8_MAX, "fields of struct entry");

static const char *name_of(const struct entry *entry)
{
	return (const char *)&entry->addrs[entry->count];
}

static bool matches(const struct lru_entry *lru, const void *data)
{
	const struct entry *entry = container_of(lru, const struct entry, lru);
	const struct dns_key *key = data;

	return entry->server == key->server && entry->type == key->type &&
	       entry->length == key->length && !memcmp(name_of(entry), key->name, key->length);
}

bool dns_cache_get(struct lru *cache, const struct dns_key *key, uint64_t now_ms,
		   struct dns_answer *ret)
{
	const struct lru_entry *found = lru_get(cache, key->hash, matches, key, now_ms);
	const struct entry *entry;

	if (!found)
		return false;
	entry = container_of(found, const struct entry, lru);
	*ret = (struct dns_answer){ .status = entry->status,
				    .count = entry->count,
				    .ttl_s = (uint32_t)((found->expires_ms - now_ms + 999) / 1000),
				    .cached = true };
	memcpy(ret->addrs, entry->addrs, entry->count * sizeof(entry->addrs[0]));
	return true;
}

void dns_cache_put(struct lru *cache, const struct dns_key *key, const struct dns_answer *answer,
		   uint64_t now_ms)
{
	size_t addrs_size = answer->count * sizeof(answer->addrs[0]);
	struct entry *entry;

	if (!cache->capacity || !answer->ttl_s)
		return;
	lru_make_room(cache, key->hash, matches, key);
	entry = malloc(sizeof(*entry) + addrs_size + key->length);
	if (!entry)
		return;
	*entry = (struct entry){ .lru = { .hash = key->hash,
					  .expires_ms = now_ms + (uint64_t)answer->ttl_s * 1000 },
				 .type = (uint8_t)key->type,
				 .status = (uint8_t)answer->status,
				 .count = (uint8_t)answer->count,
				 .length = (uint8_t)key->length,
				 .server = key->server };
	memcpy(entry->addrs, answer->addrs, addrs_size);
	memcpy(&entry->addrs[entry->count], key->name, key->length);
	lru_put(cache, &entry->lru);
}
