/* packet_scene - a scene of datagrams: the test plays the proxy, on its stream and behind it. */
#pragma once
#include "scene.h"

struct packet_scene {
	struct scene s;
	int relay; /* a UDP socket of the proxy */
	struct addr relay_addr, client;
	struct datagram_batch *batch;
	const struct datagram *list; /* received, and not looked at */
	int count;
	unsigned ready;
};

static inline void packet_scene_init(struct packet_scene *p, const char *host)
{
	struct addr any = address(host, 0);

	*p = (struct packet_scene){ 0 };
	p->relay = socket(any.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(sock_bind_address(p->relay, &any, false), 0);
	assert_int_equal(sock_local_addr(p->relay, &p->relay_addr), 0);
	assert_int_equal(datagram_batch_new(&p->batch), 0);
	scene_init_at(&p->s, host);
	p->s.type = SOCK_DGRAM;
}

static inline void packet_scene_deinit(struct packet_scene *p)
{
	scene_deinit(&p->s);
	datagram_batch_free(p->batch);
	close(p->relay);
}

static inline void on_ready(void *owner)
{
	((struct packet_scene *)owner)->ready++;
}

static inline struct packet_way *way_of(const struct packet_scene *p)
{
	if (p->s.result.err)
		fail_msg("%s: %s", p->s.result.call, strerror(-p->s.result.err));
	assert_int_equal(p->s.done, 1);
	assert_non_null(p->s.result.packet);
	return p->s.result.packet;
}

/* Until the dial is over, and its way heard. */
static inline struct packet_way *way_made(struct packet_scene *p)
{
	for (int i = 0; !p->s.done; i++) {
		assert_true(i < 100);
		assert_int_equal(loop_run_once(&p->s.loop, 10), 0);
	}
	p->count = 0;
	p->ready = 0;
	packet_listen(way_of(p), on_ready, p);
	assert_int_equal(p->ready, 0);
	return p->s.result.packet;
}

static inline bool is_ready(struct packet_scene *p)
{
	p->ready = 0;
	for (int i = 0; i < 3 && !p->ready; i++)
		assert_int_equal(loop_run_once(&p->s.loop, 0), 0);
	return p->ready;
}

/* One; only after the way has said that there is something. */
static inline const struct datagram *receive_one(struct packet_scene *p)
{
	for (int i = 0; !p->count; i++) {
		assert_true(i < 100);
		if (!is_ready(p))
			continue;
		p->count = packet_receive(way_of(p), p->batch, &p->list);
		if (p->count == -EAGAIN)
			p->count = 0;
		if (p->count < 0)
			fail_msg("%s: %s", way_of(p)->call, strerror(-p->count));
	}
	p->count--;
	return p->list++;
}

static inline void expect_one(struct packet_scene *p, const struct addr *source, const void *data,
			      size_t len)
{
	const struct datagram *one = receive_one(p);

	assert_true(addr_equal(&one->source, source));
	assert_int_equal(one->len, len);
	assert_int_equal(datagram_count(one), 1);
	assert_memory_equal(one->data, data, len);
}

/* And then it is quiet. */
static inline void expect_none(struct packet_scene *p)
{
	assert_int_equal(p->count, 0);
	for (int i = 0; i < 3; i++)
		if (is_ready(p))
			assert_int_equal(packet_receive(way_of(p), p->batch, &p->list), -EAGAIN);
	assert_false(is_ready(p));
}

/* The way has ended, and says so in time. */
static inline void expect_end(struct packet_scene *p, int err, const char *call)
{
	int r = 0;

	for (int i = 0; i < 100 && (!r || r == -EAGAIN); i++)
		if (is_ready(p))
			r = packet_receive(way_of(p), p->batch, &p->list);
	assert_int_equal(r, err);
	assert_string_equal(way_of(p)->call, call);
}

static inline struct datagram_sent send_to(struct packet_scene *p, const struct addr *to,
					   const void *data, size_t len)
{
	const struct datagram one = { .destination = *to, .data = data, .len = len };
	unsigned ready = p->ready;
	struct datagram_sent sent;

	memset(&sent, 0xa5, sizeof(sent));
	packet_send(way_of(p), &one, 1, &sent);
	assert_int_equal(sent.sent + sent.failed, 1);
	assert_int_equal(!sent.failed, !sent.err);
	assert_int_equal(p->ready, ready); /* never inside a call */
	return sent;
}

static inline void sends(struct packet_scene *p, const struct addr *to, const void *data,
			 size_t len)
{
	assert_int_equal(send_to(p, to, data, len).err, 0);
}

static const struct addr nobody = { .family = AF_UNSPEC };
