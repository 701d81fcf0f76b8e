/* udp_rig - ways for datagrams over the links of rig.h, and who is at the other end of them. */
#pragma once
#include "rig.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* A dial for datagrams and its way. */
struct udp {
	struct attempt a;
	int fd; /* the way's socket, to look at */
	unsigned ready;
	struct datagram_batch *batch;
};

/* A server in @netns, NULL: ours, and its address with the port. */
static inline int serve_in(struct netns *netns, const char *text, struct addr *ret)
{
	const struct addr addr = address(text, 0);
	const struct timeval patience = { .tv_sec = 2 };
	int fd = netns_socket(netns, addr.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(sock_bind_address(fd, &addr, false), 0);
	assert_int_equal(sock_local_addr(fd, ret), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	return fd;
}

static inline void udp_prepare(struct udp *u, const struct addr *to, bool one_peer)
{
	u->ready = 0;
	prepare(&u->a, to);
	u->a.request.type = SOCK_DGRAM;
	u->a.request.one_peer = one_peer;
	assert_int_equal(datagram_batch_new(&u->batch), 0);
}

static inline void on_ready(void *owner)
{
	((struct udp *)owner)->ready++;
}

static inline struct packet_way *way_of(const struct udp *u)
{
	return u->a.result.packet;
}

/* The lowest number that is free is the one a dial begins with. */
static inline void udp_opens(struct udp *u)
{
	u->fd = dup(STDERR_FILENO);
	close(u->fd);
	connects(&u->a);
	assert_null(u->a.result.io);
	assert_null(u->a.result.owed);
	assert_non_null(way_of(u));
	assert_string_equal(way_of(u)->ops->name, "direct");
	assert_int_equal(get_option(u->fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
	packet_listen(way_of(u), on_ready, u);
}

static inline void udp_clean(struct udp *u)
{
	clean(&u->a);
	datagram_batch_free(u->batch);
}

/* @to NULL: where the way leads. */
static inline struct datagram_sent say(const struct udp *u, const char *text, const struct addr *to)
{
	struct datagram datagram = { .data = (const uint8_t *)text, .len = strlen(text) };
	struct datagram_sent sent;

	if (to)
		datagram.destination = *to;
	packet_send(way_of(u), &datagram, 1, &sent);
	assert_int_equal(sent.sent + sent.failed, 1);
	return sent;
}

static inline void says(const struct udp *u, const char *text, const struct addr *to)
{
	const struct datagram_sent sent = say(u, text, to);

	if (!sent.sent)
		fail_msg("%s: %s", text, strerror(-sent.err));
}

/* At the server: @text, and who sent it. */
static inline struct addr hears(int server, const char *text)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addr from;
	char buf[2048];
	ssize_t n = recvfrom(server, buf, sizeof(buf), 0, (struct sockaddr *)&sa, &len);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, (size_t)n);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sa, &from), 0);
	return from;
}

static inline void answer(int server, const struct addr *to, const char *text)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(to, &sa);

	assert_int_equal(sendto(server, text, strlen(text), 0, (struct sockaddr *)&sa, len),
			 strlen(text));
}

/* Turns of the loop until the way has something to say, or for @ms. */
static inline int receives(struct udp *u, unsigned ms, const struct datagram **ret)
{
	uint64_t until = rig.loop.now_ms + ms;
	int n = -EAGAIN;

	while (n == -EAGAIN && rig.loop.now_ms < until) {
		unsigned ready = u->ready;

		assert_int_equal(loop_run_once(&rig.loop, 20), 0);
		if (u->ready != ready)
			n = packet_receive(way_of(u), u->batch, ret);
	}
	return n;
}

/* One datagram. */
static inline void gets_one(struct udp *u, const char *text, const struct addr *from)
{
	static const struct datagram none;
	const struct datagram *list = &none;
	int n = receives(u, 2000, &list);

	if (n != 1)
		fail_msg("\"%s\" did not come: %d", text, n);
	assert_int_equal(list->len, strlen(text));
	assert_memory_equal(list->data, text, list->len);
	assert_true(addr_equal(&list->source, from));
}

/* And that is all. */
static inline void gets(struct udp *u, const char *text, const struct addr *from)
{
	const struct datagram *list;

	gets_one(u, text, from);
	assert_int_equal(packet_receive(way_of(u), u->batch, &list), -EAGAIN);
}

/* The loop sleeps: nothing is ready, or said to be. */
static inline void is_quiet(struct udp *u)
{
	unsigned ready;

	assert_int_equal(loop_run_once(&rig.loop, 0), 0);
	ready = u->ready;
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(&rig.loop, 0), 0);
	assert_int_equal(u->ready, ready);
	assert_true(list_empty(&rig.loop.ready));
}
