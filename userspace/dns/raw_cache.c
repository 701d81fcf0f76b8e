#include "dns/raw_cache.h"
#include <stdlib.h>
#include <string.h>
#include "dns/key.h"
#include "dns/wire.h"

struct entry {
	struct lru_entry lru;
	uint64_t stored_ms;
	struct dns_raw_key key;
	size_t size;
	uint8_t message[];
};

void dns_raw_key_init(struct dns_raw_key *key, const struct hash_key *secret, size_t server,
		      const struct dns_query *query)
{
	uint8_t about[DNS_WIRE_NAME_MAX + 3 * sizeof(uint16_t)], *at;

	*key = (struct dns_raw_key){ .server = server,
				     .type = query->type,
				     .class = query->class,
				     .flags = query->flags,
				     .length = query->wire_length };
	if (query->dnssec_ok)
		key->flags |= DNS_RAW_DNSSEC;
	for (size_t i = 0; i < key->length; i++)
		key->name[i] = wire_lower(query->wire[i]);
	/* Who asks chooses all of it. The name's own end separates what follows. */
	at = mempcpy(about, key->name, key->length);
	at = mempcpy(at, &key->type, sizeof(key->type));
	at = mempcpy(at, &key->class, sizeof(key->class));
	at = mempcpy(at, &key->flags, sizeof(key->flags));
	key->hash = (uint32_t)hash_bytes(secret, about, (size_t)(at - about)) ^ (uint32_t)server;
}

bool dns_raw_key_equal(const struct dns_raw_key *a, const struct dns_raw_key *b)
{
	return a->hash == b->hash && a->server == b->server && a->type == b->type &&
	       a->class == b->class && a->flags == b->flags && a->length == b->length &&
	       !memcmp(a->name, b->name, a->length);
}

static bool matches(const struct lru_entry *lru, const void *key)
{
	return dns_raw_key_equal(&container_of(lru, const struct entry, lru)->key, key);
}

size_t dns_raw_cache_get(struct lru *cache, const struct dns_raw_key *key, uint64_t now_ms,
			 uint8_t *ret)
{
	const struct lru_entry *found = lru_get(cache, key->hash, matches, key, now_ms);
	const struct entry *entry;

	if (!found)
		return 0;
	entry = container_of(found, const struct entry, lru);
	memcpy(ret, entry->message, entry->size);
	dns_answer_age(ret, entry->size, (uint32_t)((now_ms - entry->stored_ms) / 1000));
	return entry->size;
}

void dns_raw_cache_put(struct lru *cache, const struct dns_raw_key *key,
		       const struct dns_raw *answer, uint32_t ttl_s, uint64_t now_ms)
{
	struct entry *entry;

	if (!cache->capacity || !ttl_s || answer->size > DNS_RAW_MAX)
		return;
	lru_make_room(cache, key->hash, matches, key);
	entry = malloc(sizeof(*entry) + answer->size);
	if (!entry)
		return;
	*entry = (struct entry){ .lru = { .hash = key->hash,
					  .expires_ms = now_ms + (uint64_t)ttl_s * 1000 },
				 .stored_ms = now_ms,
				 .key = *key,
				 .size = answer->size };
	memcpy(entry->message, answer->bytes, answer->size);
	lru_put(cache, &entry->lru);
}
