/* scene - a chain of handshakes over a real connection to loopback, where the test plays the proxy; it runs
 * the loop turn by turn. */
#pragma once
#include <poll.h>
#include "../net/common.h"
#include "base/cleanup.h"
#include "base/names.h"
#include "dial/direct.h"
#include "dial/handshake.h"
#include "dial/packet.h"
#include "net/sock.h"

#define LAYERS 5

struct said {
	const void *text;
	size_t len;
};
#define SAID(literal)                        \
	{                                    \
		literal, sizeof(literal) - 1 \
	}

/* What the proxy waits for, and what it says then. */
struct line {
	struct said expect, answer;
};

struct scene {
	struct loop loop;
	struct dial_env env;
	struct direct_dialer direct;
	struct handshake_dialer layers[LAYERS]; /* the lowest first */
	unsigned layer_count;
	struct trace trace;
	int listener, proxy; /* -1: not connected */
	struct addr proxy_addr;
	struct dial *dial;
	int type;      /* of what is dialed */
	bool one_peer; /* the same */
	unsigned done, events;
	int turns; /* until the test cancels; -1: never */
	struct dial_result result;
	struct loop_io io;
	unsigned fds;
};

static inline void scene_init_at(struct scene *s, const char *host)
{
	struct addr any = address(host, 0);

	*s = (struct scene){ .proxy = -1, .turns = -1, .io = LOOP_IO_NULL };
	s->fds = open_fds();
	assert_int_equal(loop_init(&s->loop), 0);
	s->env.loop = &s->loop;
	s->direct = (struct direct_dialer){ .base.ops = &dial_direct_ops,
					    .connect_timeout_ms = 5000 };
	s->listener = socket(any.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(sock_bind_address(s->listener, &any, false), 0);
	assert_int_equal(listen(s->listener, 100), 0);
	assert_int_equal(sock_local_addr(s->listener, &s->proxy_addr), 0);
}

static inline void scene_init(struct scene *s)
{
	scene_init_at(s, "127.0.0.1");
}

static inline void scene_deinit(struct scene *s)
{
	close(s->listener);
	assert_int_equal(s->loop.io_count, 0);
	loop_deinit(&s->loop);
	assert_int_equal(open_fds(), s->fds);
}

/* The next one up. The lowest is connected to; of the others it is only said. */
static inline void add_layer(struct scene *s, const struct handshake_ops *ops,
			     const struct handshake_config *config, const struct target *proxy)
{
	struct handshake_dialer *layer = &s->layers[s->layer_count];

	*layer = (struct handshake_dialer){
		.base.ops = &dial_handshake_ops,
		.via = s->layer_count ? &s->layers[s->layer_count - 1].base : &s->direct.base,
		.ops = ops,
		.config = config ? *config : (struct handshake_config){ 0 },
		.proxy = proxy            ? *proxy
			 : s->layer_count ? (struct target){ 0 }
					  : (struct target){ .addr = s->proxy_addr },
	};
	s->layer_count++;
}

static inline void on_event(struct loop_io *io)
{
	struct scene *s = container_of(io, struct scene, io);

	s->events++;
	loop_io_want(io, 0);
}

static inline void on_done(void *owner, const struct dial_result *result)
{
	struct scene *s = owner;

	assert_int_equal(s->done++, 0);
	s->dial = NULL;
	s->result = *result;
	assert_int_equal(!result->err, result->io || result->packet);
	assert_int_equal(!result->err && s->type == SOCK_DGRAM, result->packet != NULL);
	assert_int_equal(!result->err, result->call == NULL);
	assert_true(!result->err || !result->owed);
	if (result->io)
		assert_int_equal(loop_io_move(&s->io, result->io, on_event), 0);
}

/* Of @target by the uppermost layer. */
static inline int scene_start(struct scene *s, const struct target *target)
{
	const struct dial_request request = { .env = &s->env,
					      .type = s->type,
					      .one_peer = s->one_peer,
					      .target = *target,
					      .source = address("10.0.0.1", 40000),
					      .original = address("10.1.2.3", 443),
					      .trace = &s->trace,
					      .done = on_done,
					      .owner = s };
	const char *call = NULL;
	int r;

	s->done = s->events = 0;
	s->result = (struct dial_result){ 0 };
	trace_init(&s->trace, s->loop.now_ms);
	r = dial_start(&s->dial, &s->layers[s->layer_count - 1].base, &request, &call);
	assert_int_equal(s->done, 0);
	if (r)
		s->result = (struct dial_result){ .err = r, .call = call };
	return r;
}

/* Ends whatever there is; nothing may be left. */
static inline void scene_over(struct scene *s, bool reset)
{
	dial_cancel(TAKE_PTR(s->dial), reset);
	loop_io_close(&s->io);
	dial_owed_free(TAKE_PTR(s->result.owed));
	packet_close(TAKE_PTR(s->result.packet));
	for (unsigned i = 0; i < s->trace.count; i++)
		assert_int_not_equal(s->trace.list[i].err, -EINPROGRESS);
	trace_deinit(&s->trace);
	do { /* also who is connected, and not yet known to be */
		if (s->proxy >= 0)
			close(s->proxy);
		s->proxy = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	} while (s->proxy >= 0);
	assert_int_equal(s->loop.io_count, 0);
	assert_true(timer_wheel_empty(&s->loop.timers));
	assert_int_equal(open_fds(), s->fds + 2); /* epoll, listener */
}

/* False: this was the last one. */
static inline bool turn(struct scene *s)
{
	if (!s->turns)
		return false;
	s->turns -= s->turns > 0;
	assert_int_equal(loop_run_once(&s->loop, 0), 0);
	return true;
}

/* What has come is taken in, and nothing spins after that. */
static inline bool settle(struct scene *s)
{
	for (int i = 0; i < 3; i++)
		if (!turn(s))
			return false;
	assert_true(list_empty(&s->loop.ready) || s->done);
	return true;
}

static inline bool readable(int fd)
{
	return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 0) > 0;
}

/* Until the dialer has connected. */
static inline bool proxy_accept(struct scene *s)
{
	for (int i = 0; s->proxy < 0; i++) {
		assert_true(i < 1000);
		if (!turn(s))
			return false;
		s->proxy = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (s->proxy < 0 && i > 3)
			usleep(1000);
	}
	assert_int_equal(sock_set_nodelay(s->proxy), 0);
	return true;
}

/* Exactly @said, and no more. */
static inline bool proxy_expect(struct scene *s, const struct said *said)
{
	uint8_t buf[4096];
	size_t got = 0;

	for (int i = 0; got < said->len; i++) {
		ssize_t n = recv(s->proxy, buf + got, sizeof(buf) - got, 0);

		if (n > 0)
			got += (size_t)n;
		else if (!turn(s))
			return false;
		assert_true(n != 0 && i < 1000);
	}
	assert_int_equal(got, said->len);
	assert_memory_equal(buf, said->text, got);
	return true;
}

static inline void proxy_say(struct scene *s, const void *text, size_t len)
{
	if (len)
		assert_int_equal(send(s->proxy, text, len, MSG_NOSIGNAL), len);
}

/* The proxy's part, with its answers cut at @cut bytes from the first one on (-1: each byte for itself).
 * False: the test has cancelled. */
static inline bool play(struct scene *s, const struct line *lines, unsigned count, size_t cut)
{
	if (!proxy_accept(s))
		return false;
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *text = lines[i].answer.text;
		size_t len = lines[i].answer.len, part;

		if (!proxy_expect(s, &lines[i].expect))
			return false;
		for (; len; text += part, len -= part) {
			part = cut == SIZE_MAX ? 1 : cut && cut < len ? cut : len;
			cut -= cut == SIZE_MAX ? 0 : cut < part ? cut : part;
			proxy_say(s, text, part);
			if (!settle(s))
				return false;
		}
	}
	return settle(s);
}

static inline size_t answers_length(const struct line *lines, unsigned count)
{
	size_t len = 0;

	while (count--)
		len += lines[count].answer.len;
	return len;
}

/* The bytes behind the answers are in the socket, and the loop tells of them. */
static inline void expect_rest(struct scene *s, const struct said *rest)
{
	uint8_t buf[256];

	assert_int_equal(s->done, 1);
	if (s->result.err)
		fail_msg("%s: %s", s->result.call, strerror(-s->result.err));
	loop_io_want(&s->io, EPOLLIN);
	assert_true(turn(s));
	assert_true(s->events || !rest->len);
	assert_int_equal(recv(s->io.fd, buf, sizeof(buf), 0), rest->len ? (ssize_t)rest->len : -1);
	assert_memory_equal(buf, rest->text, rest->len);
	/* and it is a plain way in both directions */
	assert_int_equal(send(s->io.fd, "hello", 5, MSG_NOSIGNAL), 5);
	assert_true(proxy_expect(s, &(struct said)SAID("hello")));
}
