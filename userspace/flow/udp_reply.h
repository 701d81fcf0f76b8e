/* udp_reply - the sockets that a worker's clients are answered by: one for each address that speaks, shared by
 * all clients, bounded, the one unused the longest makes room.
 *
 * Such a socket belongs to an address that is not ours, and is not connected, so that TPROXY goes on giving what
 * clients send there to the listener; what arrives at it all the same is passed on. Where the address is ours, or
 * a service of this host keeps the port to itself, answers leave by a raw socket, and the service keeps its
 * traffic.
 */
#pragma once
#include <stdint.h>
#include "base/hash.h"
#include "loop/loop.h"
#include "net/datagram.h"

/* Of a client to @list's destinations. */
typedef void udp_received_fn(void *owner, const struct datagram *list, unsigned count);

struct udp_reply_stats {
	uint64_t opened, evicted, failed, open;
};

struct udp_reply;

struct udp_replies {
	struct loop *loop;
	struct datagram_batch *batch; /* borrowed */
	udp_received_fn *received;
	void *owner;
	uint32_t capacity, mark; /* @mark: SO_MARK of the sockets, 0: none */
	struct hash_key key;
	struct udp_reply **buckets;
	size_t mask;
	struct list used; /* the oldest use first */
	struct udp_reply_stats stats;
};

/* @replies is set up to here: loop, batch, received, owner, capacity, mark. -ENOMEM. */
int udp_replies_init(struct udp_replies *replies);
void udp_replies_deinit(struct udp_replies *replies); /* zeroed is fine */
/* Sends @list, whose addresses do not matter, from @from to @to, of one family. Without a socket all of it
 * failed. */
void udp_reply_send(struct udp_replies *replies, const struct addr *from, const struct addr *to,
		    const struct datagram *list, unsigned count, struct datagram_sent *ret);
