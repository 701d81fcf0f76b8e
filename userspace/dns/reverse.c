#include "dns/reverse.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "base/list.h"
#include "dns/key.h"

#define BUCKETS   4096
#define TTL_MIN_S 10 /* a client dials a while after the answer came */
#define TTL_MAX_S 86400

struct entry {
	struct list bucket, used;
	uint64_t expires_ms;
	struct addr addr;
	char name[];
};

struct dns_reverse {
	pthread_mutex_t lock; /* of everything below */
	size_t count;
	uint64_t seed;
	struct list used; /* the oldest use first */
	struct list buckets[BUCKETS];
};

int dns_reverse_new(struct dns_reverse **ret)
{
	struct dns_reverse *reverse = calloc(1, sizeof(*reverse));

	if (!reverse)
		return -ENOMEM;
	pthread_mutex_init(&reverse->lock, NULL);
	if (getrandom(&reverse->seed, sizeof(reverse->seed), GRND_NONBLOCK) < 0)
		reverse->seed = (uintptr_t)reverse; /* early at boot */
	list_init(&reverse->used);
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&reverse->buckets[i]);
	*ret = reverse;
	return 0;
}

static void drop(struct dns_reverse *reverse, struct entry *entry)
{
	list_unlink(&entry->bucket);
	list_unlink(&entry->used);
	reverse->count--;
	free(entry);
}

static struct entry *oldest(struct dns_reverse *reverse)
{
	return container_of(reverse->used.next, struct entry, used);
}

void dns_reverse_free(struct dns_reverse *reverse)
{
	if (!reverse)
		return;
	while (reverse->count)
		drop(reverse, oldest(reverse));
	pthread_mutex_destroy(&reverse->lock);
	free(reverse);
}

static struct list *bucket_of(struct dns_reverse *reverse, const struct addr *addr)
{
	uint32_t hash = addr->family == AF_INET
				? dns_hash(reverse->seed, &addr->v4, sizeof(addr->v4))
				: dns_hash(reverse->seed, &addr->v6, sizeof(addr->v6));

	return &reverse->buckets[hash % BUCKETS];
}

static bool same_host(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return false;
	return a->family == AF_INET ? a->v4.s_addr == b->v4.s_addr
				    : IN6_ARE_ADDR_EQUAL(&a->v6, &b->v6);
}

static struct entry *find(struct dns_reverse *reverse, const struct addr *addr)
{
	list_for_each (pos, bucket_of(reverse, addr)) {
		struct entry *entry = container_of(pos, struct entry, bucket);

		if (same_host(&entry->addr, addr))
			return entry;
	}
	return NULL;
}

static void put(struct dns_reverse *reverse, const struct addr *addr, const char *name,
		uint64_t expires_ms)
{
	struct entry *entry = find(reverse, addr);
	size_t size = strlen(name) + 1;

	if (entry)
		drop(reverse, entry);
	else if (reverse->count == DNS_REVERSE_CAPACITY)
		drop(reverse, oldest(reverse));
	entry = malloc(sizeof(*entry) + size);
	if (!entry)
		return;
	entry->expires_ms = expires_ms;
	entry->addr = *addr;
	memcpy(entry->name, name, size);
	list_append(bucket_of(reverse, addr), &entry->bucket);
	list_append(&reverse->used, &entry->used);
	reverse->count++;
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
	struct entry *entry;
	bool found;

	if (addr->family != AF_INET && addr->family != AF_INET6)
		return false;
	pthread_mutex_lock(&reverse->lock);
	entry = find(reverse, addr);
	found = entry && entry->expires_ms > now_ms;
	if (found) {
		list_unlink(&entry->used);
		list_append(&reverse->used, &entry->used);
		memcpy(ret_name, entry->name, strlen(entry->name) + 1);
	} else if (entry) {
		drop(reverse, entry);
	}
	pthread_mutex_unlock(&reverse->lock);
	return found;
}
