#include "flow/udp_table.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN     64 /* a power of two */
#define ADDR6_HOST_BITS 64

struct udp_host {
	struct udp_host *next; /* in its bucket */
	uint32_t hash;
	struct addr prefix;
	size_t count;
	struct udp_order order; /* of udp_entry.host_used */
};

static void order_init(struct udp_order *order)
{
	list_init(&order->unreplied);
	list_init(&order->replied);
}

/* Of an order that is not empty. */
static struct list *order_first(const struct udp_order *order)
{
	return list_empty(&order->unreplied) ? order->replied.next : order->unreplied.next;
}

static void order_append(struct udp_order *order, struct list *used, bool replied)
{
	list_append(replied ? &order->replied : &order->unreplied, used);
}

/* Bound sessions are hashed with their destination: one source may have very many of them, which are not
 * to share a bucket. */
static uint32_t hash_of(const struct udp_table *table, const struct addr *source,
			const struct addr *destination)
{
	return addr_hash(&table->key, source, destination);
}

int udp_table_init(struct udp_table *table, size_t capacity, size_t host_capacity)
{
	*table = (struct udp_table){ .capacity = capacity,
				     .host_capacity = host_capacity,
				     .mask = BUCKETS_MIN - 1,
				     .host_mask = BUCKETS_MIN - 1 };
	order_init(&table->order);
	hash_key_init(&table->key);
	table->buckets = calloc(BUCKETS_MIN, sizeof(struct udp_entry *));
	table->host_buckets = calloc(BUCKETS_MIN, sizeof(struct udp_host *));
	if (table->buckets && table->host_buckets)
		return 0;
	udp_table_deinit(table);
	return -ENOMEM;
}

void udp_table_deinit(struct udp_table *table)
{
	assert(!table->count && !table->host_count);
	free(table->buckets);
	free(table->host_buckets);
	*table = (struct udp_table){ 0 };
}

/* Without memory the chains become longer, until there is some. */
static void grow(struct udp_table *table)
{
	size_t mask = table->mask * 2 + 1;
	struct udp_entry **buckets = calloc(mask + 1, sizeof(struct udp_entry *));

	if (!buckets)
		return;
	for (size_t i = 0; i <= table->mask; i++) {
		struct udp_entry *entry = table->buckets[i], *next;

		for (; entry; entry = next) {
			next = entry->next;
			entry->next = buckets[entry->hash & mask];
			buckets[entry->hash & mask] = entry;
		}
	}
	free(table->buckets);
	table->buckets = buckets;
	table->mask = mask;
}

static void grow_hosts(struct udp_table *table)
{
	size_t mask = table->host_mask * 2 + 1;
	struct udp_host **buckets = calloc(mask + 1, sizeof(struct udp_host *));

	if (!buckets)
		return;
	for (size_t i = 0; i <= table->host_mask; i++) {
		struct udp_host *host = table->host_buckets[i], *next;

		for (; host; host = next) {
			next = host->next;
			host->next = buckets[host->hash & mask];
			buckets[host->hash & mask] = host;
		}
	}
	free(table->host_buckets);
	table->host_buckets = buckets;
	table->host_mask = mask;
}

static struct addr prefix_of(const struct addr *addr)
{
	struct addr prefix = *addr;

	prefix.port = 0;
	if (prefix.family == AF_INET6)
		memset(&prefix.v6.s6_addr[ADDR6_HOST_BITS / 8], 0, ADDR6_HOST_BITS / 8);
	return prefix;
}

static struct udp_host *host_find(const struct udp_table *table, const struct addr *prefix,
				  uint32_t hash)
{
	struct udp_host *host = table->host_buckets[hash & table->host_mask];

	while (host && (host->hash != hash || !addr_equal(&host->prefix, prefix)))
		host = host->next;
	return host;
}

static uint32_t host_hash(const struct udp_table *table, const struct addr *prefix)
{
	static const struct addr nothing;

	return hash_of(table, prefix, &nothing);
}

/* The host of @source, made if it is new; NULL: out of memory. */
static struct udp_host *host_get(struct udp_table *table, const struct addr *source)
{
	struct addr prefix = prefix_of(source);
	uint32_t hash = host_hash(table, &prefix);
	struct udp_host *host = host_find(table, &prefix, hash), **bucket;

	if (host)
		return host;
	host = malloc(sizeof(*host));
	if (!host)
		return NULL;
	if (table->host_count > table->host_mask)
		grow_hosts(table);
	bucket = &table->host_buckets[hash & table->host_mask];
	*host = (struct udp_host){ .next = *bucket, .hash = hash, .prefix = prefix };
	order_init(&host->order);
	*bucket = host;
	table->host_count++;
	return host;
}

static void host_free(struct udp_table *table, struct udp_host *host)
{
	struct udp_host **at = &table->host_buckets[host->hash & table->host_mask];

	while (*at != host)
		at = &(*at)->next;
	*at = host->next;
	table->host_count--;
	free(host);
}

static struct udp_entry *search(struct udp_entry *entry, uint32_t hash, const struct addr *source,
				const struct addr *destination)
{
	while (entry && (entry->hash != hash || !addr_equal(&entry->source, source) ||
			 !addr_equal(&entry->destination, destination)))
		entry = entry->next;
	return entry;
}

struct udp_entry *udp_table_find(const struct udp_table *table, const struct addr *source,
				 const struct addr *destination)
{
	static const struct addr nothing;
	struct udp_entry *bound, *any;
	uint32_t bound_hash, any_hash;

	if (!table->count)
		return NULL;
	any_hash = hash_of(table, source, &nothing);
	any = table->buckets[any_hash & table->mask];
	__builtin_prefetch(any); /* memory is what takes the time: both chains at once */
	if (destination->family != AF_UNSPEC) {
		bound_hash = hash_of(table, source, destination);
		bound = table->buckets[bound_hash & table->mask];
		bound = search(bound, bound_hash, source, destination);
		if (bound)
			return bound;
	}
	return search(any, any_hash, source, &nothing);
}

struct udp_entry *udp_table_victim(const struct udp_table *table, const struct addr *source)
{
	struct addr prefix = prefix_of(source);
	const struct udp_host *host = NULL;

	if (!table->count)
		return NULL;
	if (table->host_capacity)
		host = host_find(table, &prefix, host_hash(table, &prefix));
	if (host && host->count >= table->host_capacity)
		return container_of(order_first(&host->order), struct udp_entry, host_used);
	if (table->count >= table->capacity)
		return container_of(order_first(&table->order), struct udp_entry, used);
	return NULL;
}

static void chain(struct udp_table *table, struct udp_entry *entry, const struct addr *destination)
{
	struct udp_entry **bucket;

	entry->destination = destination->family == AF_UNSPEC ? (struct addr){ 0 } : *destination;
	entry->hash = hash_of(table, &entry->source, &entry->destination);
	bucket = &table->buckets[entry->hash & table->mask];
	entry->next = *bucket;
	*bucket = entry;
}

static void unchain(struct udp_table *table, struct udp_entry *entry)
{
	struct udp_entry **at = &table->buckets[entry->hash & table->mask];

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
}

static void append(struct udp_table *table, struct udp_entry *entry)
{
	order_append(&table->order, &entry->used, entry->replied);
	order_append(&entry->host->order, &entry->host_used, entry->replied);
}

int udp_table_add(struct udp_table *table, struct udp_entry *entry)
{
	struct udp_host *host;

	assert(!entry->host);
	if (table->count >= table->capacity)
		return -ENOSPC;
	host = host_get(table, &entry->source);
	if (!host)
		return -ENOMEM;
	if (table->host_capacity && host->count >= table->host_capacity)
		return -ENOSPC; /* not a new host, which has none */
	if (2 * table->count > table->mask)
		grow(table);
	entry->host = host;
	entry->replied = false;
	chain(table, entry, &entry->destination);
	append(table, entry);
	host->count++;
	table->count++;
	return 0;
}

void udp_table_remove(struct udp_table *table, struct udp_entry *entry)
{
	struct udp_host *host = entry->host;

	if (!host)
		return;
	unchain(table, entry);
	list_unlink(&entry->used);
	list_unlink(&entry->host_used);
	entry->host = NULL;
	table->count--;
	if (!--host->count)
		host_free(table, host);
}

void udp_table_use(struct udp_table *table, struct udp_entry *entry, bool reply)
{
	if (!entry->host)
		return;
	list_unlink(&entry->used);
	list_unlink(&entry->host_used);
	entry->replied |= reply;
	append(table, entry);
}

void udp_table_bind(struct udp_table *table, struct udp_entry *entry,
		    const struct addr *destination)
{
	if (!entry->host) {
		entry->destination = *destination;
		return;
	}
	unchain(table, entry);
	chain(table, entry, destination);
}
