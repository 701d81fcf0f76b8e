/* packet - the way of datagrams through an outbound: what a dial of SOCK_DGRAM comes to.
 *
 * Where a TCP dial ends in a plain socket, datagrams may have to be wrapped: ways lie on top of each other
 * as the proxies do. One belongs to one client and one loop.
 */
#pragma once
#include "loop/loop.h"
#include "net/datagram.h"

struct packet_way;
/* There is something to receive; the way may be closed in it. */
typedef void packet_ready_fn(void *owner);

struct packet_ops {
	const char *name; /* "direct", "socks5", "vless" */
	void (*send)(struct packet_way *way, const struct datagram *list, unsigned count,
		     struct datagram_sent *ret);
	int (*receive)(struct packet_way *way, struct datagram_batch *batch,
		       const struct datagram **ret);
	void (*close)(struct packet_way *way); /* frees it, and those below */
	/* See packet_local(); NULL: datagrams are wrapped. */
	int (*local)(struct packet_way *way, struct addr *ret);
};

/* First member of each kind. */
struct packet_way {
	const struct packet_ops *ops;
	packet_ready_fn *ready; /* set by packet_listen() */
	void *owner;
	struct addr peer; /* address of the dial's target; AF_UNSPEC: only a proxy knows it */
	int fd;           /* of the socket that carries it, borrowed; -1: a proxy's connection */
	bool bound;       /* carries datagrams to and from that target only */
	const char *call; /* what failed when receive() says -errno; static */
	uint64_t dropped; /* datagrams of a proxy that were none, fragments, or of another peer */
};

/* @ready from here on, never inside a call of this module. */
void packet_listen(struct packet_way *way, packet_ready_fn *ready, void *owner);
/* Each goes to its destination; AF_UNSPEC: to the dial's target. One that is refused, or finds a full queue,
 * is lost. Nothing is kept of @list. */
static inline void packet_send(struct packet_way *way, const struct datagram *list, unsigned count,
			       struct datagram_sent *ret)
{
	way->ops->send(way, list, count, ret);
}
/* One batch, which lives until @batch is used again or the way is closed: returns how many, zero-length ones
 * included; source AF_UNSPEC: the dial's target. -EAGAIN: none now, @ready tells. Other -errno with way->call:
 * it carries no more (the target is unreachable, a proxy hung up). */
static inline int packet_receive(struct packet_way *way, struct datagram_batch *batch,
				 const struct datagram **ret)
{
	return way->ops->receive(way, batch, ret);
}
void packet_close(struct packet_way *way); /* NULL is fine */
/* The address that datagrams to the target come from, as they are on the wire. -EOPNOTSUPP: they are wrapped;
 * -errno of a route. Only of sockets in our own network namespace. */
int packet_local(struct packet_way *way, struct addr *ret);
