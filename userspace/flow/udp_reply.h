/* udp_reply - the sockets that a worker's clients are answered by: one for each family and port that speaks,
 * shared by all addresses and clients, bounded, the one unused the longest makes room.
 *
 * They receive nothing (tproxy_reply_socket()): what clients send goes to the listener, what is for services of
 * this host to those. Where a service keeps the port to itself, answers leave by a raw socket for each address.
 */
#pragma once
#include <stdint.h>
#include "base/hash.h"
#include "base/list.h"
#include "net/datagram.h"

struct udp_reply_stats {
	uint64_t opened, evicted, failed, open;
};

struct udp_reply;

struct udp_replies {
	uint32_t capacity, mark; /* @mark: SO_MARK of the sockets, 0: none */
	struct hash_key key;
	struct udp_reply **buckets;
	size_t mask;
	struct list used; /* the oldest use first */
	struct udp_reply_stats stats;
};

/* @replies is set up to here: capacity, mark. -ENOMEM. */
int udp_replies_init(struct udp_replies *replies);
void udp_replies_deinit(struct udp_replies *replies); /* zeroed is fine */
/* Sends @list, whose addresses do not matter, from @from to @to, of one family. Without a socket all of it
 * failed; -EADDRNOTAVAIL: there is no such address or port as @from. */
void udp_reply_send(struct udp_replies *replies, const struct addr *from, const struct addr *to,
		    const struct datagram *list, unsigned count, struct datagram_sent *ret);
