/* datagram - many datagrams with one system call: recvmmsg with GRO, sendmmsg with GSO.
 *
 * A train is what GRO (UDP_GRO, 5.0) made of several datagrams of one sender and one size: it is sent as it is
 * (UDP_SEGMENT, 4.18), or one by one where the kernel refuses that.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "net/addr.h"

#define DATAGRAM_MAX   65535 /* bytes; no payload is longer */
#define DATAGRAM_BATCH 32    /* datagrams, or trains, a call */

/* One, or a train of them. */
struct datagram {
	struct addr source;      /* AF_UNSPEC: see who says so. Not looked at when sending */
	struct addr destination; /* received: only by a listener (net/tproxy.h), else AF_UNSPEC.
				  * To be sent: AF_UNSPEC is the peer of a connected socket */
	const uint8_t *data;
	size_t len;
	const uint8_t *head; /* to be sent before @data, of a proxy's protocol; not with a train */
	size_t head_len;
	uint16_t
		segment; /* a train: size of each but the last, which may be shorter; 0: it is one */
	bool truncated;  /* it was longer than DATAGRAM_MAX: not by UDP, not a train */
	uint8_t dscp;    /* received by a listener */
	int interface;   /* received by a listener: index of it */
};

/* How many datagrams it is. */
static inline unsigned datagram_count(const struct datagram *datagram)
{
	if (!datagram->segment || datagram->len <= datagram->segment)
		return 1;
	return (unsigned)((datagram->len + datagram->segment - 1) / datagram->segment);
}

/* The buffers that datagrams are received into: one a thread, used by one socket after the other. Memory is
 * touched only as far as datagrams fill it. */
struct datagram_batch;
int datagram_batch_new(struct datagram_batch **ret);    /* -ENOMEM */
void datagram_batch_free(struct datagram_batch *batch); /* NULL is fine */

/* Up to DATAGRAM_BATCH of them, which live until @batch is used again; returns how many, zero-length ones
 * included. Never waits. -EAGAIN: none; other -errno: an error of the socket (ICMP on a connected one;
 * -EMSGSIZE is only about the path MTU), which is cleared, and is told before the datagrams that wait. */
int datagram_receive(struct datagram_batch *batch, int fd, const struct datagram **ret);

struct datagram_sent {
	unsigned sent, failed; /* datagrams; those of a train count each */
	int err;               /* -errno of the last that failed; 0: none did */
	int icmp;              /* -errno of an earlier datagram, see below; 0: none */
};
/* Sends all in order with MSG_DONTWAIT; one that is refused does not keep back the next. An AF_INET6 socket
 * takes IPv4 destinations as they are.
 *
 * The kernel tells what ICMP said of a connected socket once, to whoever comes first, and here in place of
 * sending: that datagram is sent again, it is not the one that failed, and the error is in @ret->icmp, as
 * datagram_receive() will not have it. One that comes while a list is being sent can be lost to both. */
void datagram_send(int fd, const struct datagram *list, unsigned count, struct datagram_sent *ret);

/* UDP_GRO; without it (before 5.0) datagrams come one by one. -errno. */
int datagram_set_gro(int fd);
/* Queues for a burst, in and out, as far as the kernel grants them. CAP_NET_ADMIN beyond net.core.rmem_max and
 * wmem_max. */
void datagram_set_queues(int fd);
