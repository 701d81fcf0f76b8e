#include "flow/udp_reply.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "net/sock.h"
#include "net/tproxy.h"
#include "net/udp_raw.h"

#define BUCKETS_MAX 65536 /* beyond that the chains grow */

struct udp_reply {
	struct loop_io io;      /* owns the socket; of a raw one only the descriptor is used */
	struct udp_reply *next; /* in its bucket */
	struct list used;
	struct udp_replies *owner;
	uint32_t hash;
	struct addr from;
	bool raw;
};

static const struct addr nobody;

int udp_replies_init(struct udp_replies *replies)
{
	size_t buckets = 1;

	while (buckets < replies->capacity && buckets < BUCKETS_MAX)
		buckets *= 2;
	list_init(&replies->used);
	hash_key_init(&replies->key);
	replies->stats = (struct udp_reply_stats){ 0 };
	replies->mask = buckets - 1;
	replies->buckets = calloc(buckets, sizeof(struct udp_reply *));
	return replies->buckets ? 0 : -ENOMEM;
}

static void reply_free(struct udp_reply *reply)
{
	struct udp_replies *replies = reply->owner;
	struct udp_reply **at = &replies->buckets[reply->hash & replies->mask];

	while (*at != reply)
		at = &(*at)->next;
	*at = reply->next;
	list_unlink(&reply->used);
	if (reply->raw)
		close(reply->io.fd);
	else
		loop_io_close(&reply->io);
	replies->stats.open--;
	free(reply);
}

void udp_replies_deinit(struct udp_replies *replies)
{
	while (replies->stats.open)
		reply_free(container_of(replies->used.next, struct udp_reply, used));
	free(replies->buckets);
	replies->buckets = NULL;
}

static struct udp_reply *search(const struct udp_replies *replies, const struct addr *from)
{
	uint32_t hash = addr_hash(&replies->key, from, &nobody);
	struct udp_reply *reply = replies->buckets[hash & replies->mask];

	while (reply && (reply->hash != hash || !addr_equal(&reply->from, from)))
		reply = reply->next;
	return reply;
}

static void on_readable(struct loop_io *io)
{
	struct udp_reply *reply = container_of(io, struct udp_reply, io);
	const struct udp_replies *replies = reply->owner;
	struct datagram taken[DATAGRAM_BATCH];
	const struct datagram *list;
	int count = datagram_receive(replies->batch, io->fd, &list);

	if (count == -EAGAIN)
		loop_io_drained(io, EPOLLIN | EPOLLERR);
	if (count <= 0)
		return; /* an error is cleared, and was about what had been sent */
	for (int i = 0; i < count; i++) {
		taken[i] = list[i];
		taken[i].destination = reply->from;
	}
	replies->received(replies->owner, taken, (unsigned)count); /* may free @reply */
}

static int open_raw(struct udp_reply *reply)
{
	int r = udp_raw_open(&reply->from, reply->owner->mark, &reply->io.fd);

	reply->raw = !r;
	return r;
}

static int open_socket(struct udp_reply *reply)
{
	const struct udp_replies *replies = reply->owner;
	const char *call;
	int fd, r;

	if (sock_addr_is_local(&reply->from))
		return open_raw(reply);
	r = tproxy_reply_socket(&reply->from, replies->mark, &fd, &call);
	if (r == -EADDRINUSE)
		return open_raw(reply);
	if (r < 0)
		return r;
	r = loop_io_init(&reply->io, replies->loop, fd, on_readable);
	if (r < 0) {
		close(fd);
		return r;
	}
	(void)loop_io_mask(&reply->io, EPOLLIN); /* EPOLLOUT would come for each that was sent */
	loop_io_want(&reply->io, EPOLLIN);
	return 0;
}

static int reply_open(struct udp_replies *replies, const struct addr *from, struct udp_reply **ret)
{
	struct udp_reply *reply = calloc(1, sizeof(*reply)), **bucket;
	int r;

	if (!reply)
		return -ENOMEM;
	reply->owner = replies;
	reply->from = *from;
	reply->hash = addr_hash(&replies->key, from, &nobody);
	r = open_socket(reply);
	if (r < 0) {
		free(reply);
		return r;
	}
	if (replies->stats.open && replies->stats.open >= replies->capacity) {
		reply_free(container_of(replies->used.next, struct udp_reply, used));
		replies->stats.evicted++;
	}
	bucket = &replies->buckets[reply->hash & replies->mask];
	reply->next = *bucket;
	*bucket = reply;
	list_append(&replies->used, &reply->used);
	replies->stats.opened++;
	replies->stats.open++;
	*ret = reply;
	return 0;
}

static int reply_get(struct udp_replies *replies, const struct addr *from, struct udp_reply **ret)
{
	struct udp_reply *reply = search(replies, from);

	if (!reply)
		return reply_open(replies, from, ret);
	list_unlink(&reply->used);
	list_append(&replies->used, &reply->used);
	*ret = reply;
	return 0;
}

static void send_some(const struct udp_reply *reply, const struct addr *to,
		      const struct datagram *list, unsigned count, struct datagram_sent *ret)
{
	struct datagram addressed[DATAGRAM_BATCH];
	struct datagram_sent sent = { 0 };

	for (unsigned i = 0; i < count; i++) {
		addressed[i] = list[i];
		addressed[i].destination = *to;
	}
	if (reply->raw)
		udp_raw_send(reply->io.fd, &reply->from, addressed, count, &sent);
	else
		datagram_send(reply->io.fd, addressed, count, &sent);
	ret->sent += sent.sent;
	ret->failed += sent.failed;
	if (sent.err)
		ret->err = sent.err;
}

void udp_reply_send(struct udp_replies *replies, const struct addr *from, const struct addr *to,
		    const struct datagram *list, unsigned count, struct datagram_sent *ret)
{
	struct udp_reply *reply;
	int r = reply_get(replies, from, &reply);

	*ret = (struct datagram_sent){ .err = r };
	if (r < 0) {
		replies->stats.failed++;
		for (unsigned i = 0; i < count; i++)
			ret->failed += datagram_count(&list[i]);
		return;
	}
	for (unsigned done = 0, some; done < count; done += some) {
		some = count - done < DATAGRAM_BATCH ? count - done : DATAGRAM_BATCH;
		send_some(reply, to, list + done, some, ret);
	}
}
