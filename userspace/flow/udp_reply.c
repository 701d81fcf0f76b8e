#include "flow/udp_reply.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "net/tproxy.h"
#include "net/udp_raw.h"

#define BUCKETS_MAX 65536 /* beyond that the chains grow */

struct udp_reply {
	struct udp_reply *next; /* in its bucket */
	struct list used;
	struct udp_replies *owner;
	struct addr from; /* not raw: the unspecified address, for all of its family */
	uint32_t hash;
	int fd;
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
	close(reply->fd);
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

/* What a socket that is not raw is found by, which is no address that answers. */
static struct addr any_of(const struct addr *from)
{
	return (struct addr){ .family = from->family, .port = from->port };
}

/* A port that a service keeps to itself is tried again for each address, as it may have become free. */
static int open_socket(struct udp_reply *reply, const struct addr *from)
{
	uint32_t mark = reply->owner->mark;
	const char *call;
	int r = tproxy_reply_socket(from->family, from->port, mark, &reply->fd, &call);

	reply->from = any_of(from);
	if (r != -EADDRINUSE)
		return r;
	reply->from = *from;
	reply->raw = true;
	return udp_raw_open(from, mark, &reply->fd);
}

static int reply_open(struct udp_replies *replies, const struct addr *from, struct udp_reply **ret)
{
	struct udp_reply *reply = calloc(1, sizeof(*reply)), **bucket;
	int r;

	if (!reply)
		return -ENOMEM;
	reply->owner = replies;
	r = open_socket(reply, from);
	if (r < 0) {
		free(reply);
		return r;
	}
	if (replies->stats.open && replies->stats.open >= replies->capacity) {
		reply_free(container_of(replies->used.next, struct udp_reply, used));
		replies->stats.evicted++;
	}
	reply->hash = addr_hash(&replies->key, &reply->from, &nobody);
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
	const struct addr any = any_of(from);
	struct udp_reply *reply;

	if (!from->port || addr_is_unspecified(from)) /* of a proxy that does not know */
		return -EADDRNOTAVAIL;
	reply = search(replies, &any);
	if (!reply)
		reply = search(replies, from);
	if (!reply)
		return reply_open(replies, from, ret);
	list_unlink(&reply->used);
	list_append(&replies->used, &reply->used);
	*ret = reply;
	return 0;
}

static void send_some(const struct udp_reply *reply, const struct addr *from, const struct addr *to,
		      const struct datagram *list, unsigned count, struct datagram_sent *ret)
{
	struct datagram addressed[DATAGRAM_BATCH];
	struct datagram_sent sent = { 0 };

	for (unsigned i = 0; i < count; i++) {
		addressed[i] = list[i];
		addressed[i].source = *from;
		addressed[i].destination = *to;
	}
	if (reply->raw)
		udp_raw_send(reply->fd, from, addressed, count, &sent);
	else
		datagram_send(reply->fd, addressed, count, &sent);
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
		send_some(reply, from, to, list + done, some, ret);
	}
}
