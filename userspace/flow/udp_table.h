/* udp_table - the UDP sessions of a worker, by who sends: bounded in all and for each host, and when there is
 * no room the session goes that was never answered and is unused the longest.
 *
 * A session serves all that its client sends from one address and port (endpoint-independent mapping and
 * filtering, RFC 4787 4.1 and 5), or, if it is bound, only what that sends to one destination.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/hash.h"
#include "base/list.h"
#include "net/addr.h"

struct udp_host; /* an IPv4 address, or an IPv6 /64, and its sessions */

/* Embedded in a session. */
struct udp_entry {
	/* What a search reads comes first: 64 bytes. */
	struct udp_entry *next; /* in its bucket */
	uint32_t hash;
	bool replied;
	struct addr source, destination; /* destination AF_UNSPEC: not bound */
	struct list used, host_used;     /* in the table's order of use, and in that of its host */
	struct udp_host *host;           /* NULL: in no table */
};

/* Unanswered and answered ones, each with the one unused the longest first. */
struct udp_order {
	struct list unreplied, replied;
};

struct udp_table {
	size_t count, capacity, host_capacity;
	size_t host_count;
	struct udp_order order;
	struct hash_key key; /* senders choose their addresses */
	struct udp_entry **buckets;
	struct udp_host **host_buckets;
	size_t mask, host_mask; /* buckets - 1; they grow with @count */
};

/* @host_capacity: most sessions of one host; 0: no limit of its own. -errno. */
int udp_table_init(struct udp_table *table, size_t capacity, size_t host_capacity);
void udp_table_deinit(struct udp_table *table); /* every entry is gone; zeroed is fine */
/* The session for a datagram: one that is bound to @destination, else one that is not bound; NULL: none. */
struct udp_entry *udp_table_find(const struct udp_table *table, const struct addr *source,
				 const struct addr *destination);
/* Who has to be removed before one more session of @source can be added; NULL: there is room. */
struct udp_entry *udp_table_victim(const struct udp_table *table, const struct addr *source);
/* Zeroed, or removed before, but for @entry->source and ->destination. Of equal ones, any is found. -ENOSPC:
 * there is no room; -ENOMEM. */
int udp_table_add(struct udp_table *table, struct udp_entry *entry);
void udp_table_remove(struct udp_table *table, struct udp_entry *entry); /* not added is fine */
/* It was used just now; @reply: by the other side, so it is an answered one from here on. Not added is fine. */
void udp_table_use(struct udp_table *table, struct udp_entry *entry, bool reply);
/* From here on, it is bound to this destination, AF_UNSPEC: to none. Not added is fine. */
void udp_table_bind(struct udp_table *table, struct udp_entry *entry,
		    const struct addr *destination);
