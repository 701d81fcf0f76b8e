#include "dns/reverse.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/hash.h"
#include "base/lru.h"

#define TTL_MIN_S 10 /* a client dials a while after the answer came */
#define TTL_MAX_S 86400

struct entry {
	struct lru_entry lru;
	struct addr addr;
	char name[];
};

struct dns_reverse {
	pthread_mutex_t lock; /* of everything below */
	struct hash_key secret;
	struct lru names;
};

int dns_reverse_new(struct dns_reverse **ret)
{
	struct dns_reverse *reverse = calloc(1, sizeof(*reverse));

	if (!reverse || lru_init(&reverse->names, DNS_REVERSE_CAPACITY)) {
		free(reverse);
		return -ENOMEM;
	}
	pthread_mutex_init(&reverse->lock, NULL);
	hash_key_init(&reverse->secret);
	*ret = reverse;
	return 0;
}

void dns_reverse_free(struct dns_reverse *reverse)
{
	if (!reverse)
		return;
	lru_deinit(&reverse->names);
	pthread_mutex_destroy(&reverse->lock);
	free(reverse);
}

static uint32_t hash_of(const struct dns_reverse *reverse, const struct addr *addr)
{
	size_t size = addr->family == AF_INET ? sizeof(addr->v4) : sizeof(addr->v6);

	return (uint32_t)hash_bytes(&reverse->secret, &addr->v6, size);
}

static bool same_host(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return false;
	return a->family == AF_INET ? a->v4.s_addr == b->v4.s_addr
				    : IN6_ARE_ADDR_EQUAL(&a->v6, &b->v6);
}

static bool matches(const struct lru_entry *lru, const void *addr)
{
	return same_host(&container_of(lru, const struct entry, lru)->addr, addr);
}

static void put(struct dns_reverse *reverse, const struct addr *addr, const char *name,
		uint64_t expires_ms)
{
	uint32_t hash = hash_of(reverse, addr);
	size_t size = strlen(name) + 1;
	struct entry *entry;

	lru_make_room(&reverse->names, hash, matches, addr);
	entry = malloc(sizeof(*entry) + size);
	if (!entry)
		return;
	*entry = (struct entry){ .lru = { .hash = hash, .expires_ms = expires_ms }, .addr = *addr };
	memcpy(entry->name, name, size);
	lru_put(&reverse->names, &entry->lru);
}

void dns_reverse_put(struct dns_reverse *reverse, const struct addr *addrs, size_t count,
		     const char *name, uint32_t ttl_s, uint64_t now_ms)
{
	if (!*name || strlen(name) >= DNS_REVERSE_NAME)
		return;
	if (ttl_s < TTL_MIN_S)
		ttl_s = TTL_MIN_S;
	if (ttl_s > TTL_MAX_S)
		ttl_s = TTL_MAX_S;
	pthread_mutex_lock(&reverse->lock);
	for (size_t i = 0; i < count; i++)
		if (!addr_is_unspecified(&addrs[i])) /* what blocked names are answered with */
			put(reverse, &addrs[i], name, now_ms + (uint64_t)ttl_s * 1000);
	pthread_mutex_unlock(&reverse->lock);
}

bool dns_reverse_get(struct dns_reverse *reverse, const struct addr *addr, uint64_t now_ms,
		     char *ret_name)
{
	const struct lru_entry *found;

	if (addr->family != AF_INET && addr->family != AF_INET6)
		return false;
	pthread_mutex_lock(&reverse->lock);
	found = lru_get(&reverse->names, hash_of(reverse, addr), matches, addr, now_ms);
	if (found) {
		const struct entry *entry = container_of(found, const struct entry, lru);

		memcpy(ret_name, entry->name, strlen(entry->name) + 1);
	}
	pthread_mutex_unlock(&reverse->lock);
	return found;
}
