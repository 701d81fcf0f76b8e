/* server - a DNS server on loopback, UDP and TCP at one port, on the loop of who asks. The first label
 * of a name says what it answers; see behaviours[]. */
#pragma once
#include "server_reply.h"

static void behave_ok(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 0, 1, 0);
	put_addr(&m, q, 60, 1);
	send_reply(s, q, &m);
}

static void behave_many(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 0, 26, 0);
	for (uint8_t i = 0; i < 26; i++)
		put_addr(&m, q, 85U - i, i < 3 ? 1 : i);
	send_reply(s, q, &m);
}

static void behave_cname(struct server *s, const struct server_question *q)
{
	struct message m;
	uint8_t v4[4] = { 192, 0, 2, 1 };

	start_reply(&m, q, 0, 2, 0);
	put_record(&m, 5, 5, "\4real\4test", 11);
	put_bytes(&m, "\4real\4test\0\0\1\0\1\0\0\0\x3c\0\4", 21);
	put_bytes(&m, v4, 4);
	send_reply(s, q, &m);
}

static void behave_short(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 0, 1, 0);
	put_addr(&m, q, 0, 1);
	send_reply(s, q, &m);
}

static void behave_forever(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 0, 1, 0);
	put_addr(&m, q, 1000000, 1);
	send_reply(s, q, &m);
}

static void behave_mapped(struct server *s, const struct server_question *q)
{
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 };
	struct message m;

	start_reply(&m, q, 0, 2, 0);
	put_record(&m, 28, 60, mapped, sizeof(mapped));
	put_addr(&m, q, 60, 7);
	send_reply(s, q, &m);
}

/* With an OPT record, and a record that nobody asked for behind it. */
static void behave_opt(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 0, 1, 0);
	put_record(&m, q->type, 60, "\3yes", 4);
	put_bytes(&m, "\0\0\x29\4\xd0\0\0\x80\0\0\4\0\xf\0\0", 15);
	put_addr(&m, q, 60, 9);
	m.bytes[11] = 2;
	m.bytes[3] |= 0x20; /* AD */
	send_reply(s, q, &m);
}

static void behave_huge(struct server *s, const struct server_question *q)
{
	static const char text[200] = "\xc7";
	struct message m;

	if (!q->tcp) {
		start_reply(&m, q, 0, 0, 0);
		m.bytes[2] |= 2;
		send_reply(s, q, &m);
		return;
	}
	start_reply(&m, q, 0, 9, 0);
	for (int i = 0; i < 9; i++)
		put_record(&m, q->type, 60, text, sizeof(text));
	send_reply(s, q, &m);
}

static void behave_nx(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 3, 0, 1);
	put_soa(&m, 900, s->soa_ttl_s);
	send_reply(s, q, &m);
}

static void behave_nosoa(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 3, 0, 0);
	send_reply(s, q, &m);
}

static void behave_nodata(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 0, 0, 1);
	put_soa(&m, 900, s->soa_ttl_s);
	send_reply(s, q, &m);
}

static void behave_dangling(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 0, 1, 1);
	put_record(&m, 5, 60, "\4real\4test", 11);
	put_soa(&m, 900, s->soa_ttl_s);
	send_reply(s, q, &m);
}

static void behave_servfail(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 2, 0, 0);
	send_reply(s, q, &m);
}

static void behave_refused(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 5, 0, 0);
	send_reply(s, q, &m);
}

static void behave_notimp(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 4, 0, 0);
	send_reply(s, q, &m);
}

static void behave_formerr(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 1, 0, 0);
	send_reply(s, q, &m);
}

static void behave_strange(struct server *s, const struct server_question *q) /* YXDOMAIN */
{
	struct message m;

	start_reply(&m, q, 6, 0, 0);
	send_reply(s, q, &m);
}

static void behave_broken(struct server *s, const struct server_question *q)
{
	struct message m;

	start_reply(&m, q, 0, 1, 0);
	put_addr(&m, q, 60, 1);
	m.size -= 3;
	send_reply(s, q, &m);
}

static void behave_trunc(struct server *s, const struct server_question *q)
{
	struct message m;

	if (q->tcp) {
		behave_many(s, q);
		return;
	}
	start_reply(&m, q, 0, 0, 0);
	m.bytes[2] |= 2;
	send_reply(s, q, &m);
}

/* What must be ignored, then the answer. */
static void behave_garbage(struct server *s, const struct server_question *q)
{
	struct message m;

	send_raw(s, q, "", 0);
	send_raw(s, q, "\xff", 1);
	send_raw(s, q, q->message, 12);
	start_reply(&m, q, 0, 1, 0);
	put_addr(&m, q, 60, 66);
	m.bytes[0] ^= 1; /* another id */
	send_reply(s, q, &m);
	m.bytes[0] ^= 1;
	m.bytes[13] ^= 3; /* another name */
	send_reply(s, q, &m);
	for (int i = 0; i < 200; i++)
		send_raw(s, q, "", 0);
	behave_ok(s, q);
}

/* Answers the second try only. */
static void behave_late(struct server *s, const struct server_question *q)
{
	if (s->seen > 1)
		behave_ok(s, q);
}

static void behave_silent(struct server *s, const struct server_question *q) {}

static void behave_hangup(struct server *s, const struct server_question *q)
{
	if (q->tcp)
		loop_io_close(q->connection);
}

static const struct {
	const char *label;
	void (*behave)(struct server *s, const struct server_question *q);
} behaviours[] = {
	{ "ok", behave_ok },
	{ "many", behave_many },
	{ "cname", behave_cname },
	{ "mapped", behave_mapped },
	{ "opt", behave_opt },
	{ "huge", behave_huge },
	{ "nx", behave_nx },
	{ "nosoa", behave_nosoa },
	{ "nodata", behave_nodata },
	{ "dangling", behave_dangling },
	{ "servfail", behave_servfail },
	{ "refused", behave_refused },
	{ "notimp", behave_notimp },
	{ "formerr", behave_formerr },
	{ "strange", behave_strange },
	{ "broken", behave_broken },
	{ "trunc", behave_trunc },
	{ "garbage", behave_garbage },
	{ "late", behave_late },
	{ "silent", behave_silent },
	{ "hangup", behave_hangup },
	{ "short", behave_short },
	{ "forever", behave_forever },
};

static void serve(struct server *s, struct server_question *q)
{
	size_t at = 12 + read_name(q->message + 12, q->name);

	q->type = q->message[at + 1];
	q->edns = q->message[11] == 1 && q->message[at + 4] == 0 && q->message[at + 6] == 41 &&
		  (q->message[at + 7] << 8 | q->message[at + 8]) == 1232;
	s->seen++;
	s->seen_tcp += q->tcp;
	s->seen_edns += q->edns;
	s->last = *q;
	for (size_t i = 0; i < ARRAY_SIZE(behaviours); i++) {
		size_t length = strlen(behaviours[i].label);

		if (!strncasecmp(q->name, behaviours[i].label, length) &&
		    strchr(".-0123456789", q->name[length])) {
			behaviours[i].behave(s, q);
			return;
		}
	}
	fail_msg("unexpected question \"%s\"", q->name);
}

static void on_server_udp(struct loop_io *io)
{
	struct server *s = container_of(io, struct server, udp);
	struct server_question q = { .from_length = sizeof(q.from) };
	ssize_t n = recvfrom(io->fd, q.message, sizeof(q.message), 0, (struct sockaddr *)&q.from,
			     &q.from_length);

	if (n < 0) {
		loop_io_drained(io, EPOLLIN);
		return;
	}
	q.size = (size_t)n;
	serve(s, &q);
}

static struct server *the_server; /* of connections */

static void on_server_connection(struct loop_io *io)
{
	struct server_question q = { .tcp = true, .connection = io };
	uint8_t length[2];
	ssize_t n = recv(io->fd, length, 2, MSG_PEEK);

	if (n < 0) {
		loop_io_drained(io, EPOLLIN | EPOLLERR | EPOLLHUP);
		return;
	}
	if (n < 2) {
		loop_io_close(io);
		return;
	}
	assert_int_equal(recv(io->fd, length, 2, 0), 2);
	q.size = (size_t)(length[0] << 8 | length[1]);
	assert_true(q.size <= sizeof(q.message));
	assert_int_equal(recv(io->fd, q.message, q.size, 0), (ssize_t)q.size);
	serve(the_server, &q);
}

static void on_server_accept(struct loop_io *io)
{
	struct server *s = container_of(io, struct server, listener);
	int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		loop_io_drained(io, EPOLLIN);
		return;
	}
	s->accepted++;
	for (int i = 0; i < SERVER_CONNECTIONS; i++) {
		struct loop_io *slot = &s->connections[i];

		if (slot->loop)
			continue;
		assert_int_equal(loop_io_init(slot, s->loop, fd, on_server_connection), 0);
		loop_io_want(slot, EPOLLIN);
		return;
	}
	fail_msg("more than %d connections", SERVER_CONNECTIONS);
}

static bool server_bind(struct server *s, struct loop_io *io, int type, loop_io_fn *fn)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_port = htons(s->port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(sin);

	assert_true(fd >= 0);
	if (bind(fd, (struct sockaddr *)&sin, length) < 0) {
		close(fd);
		return false;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &length), 0);
	s->port = ntohs(sin.sin_port);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(loop_io_init(io, s->loop, fd, fn), 0);
	loop_io_want(io, EPOLLIN);
	return true;
}

static void server_start(struct server *s, struct loop *loop)
{
	*s = (struct server){ .loop = loop, .soa_ttl_s = 60 };
	the_server = s;
	for (;;) { /* the port may be taken for TCP */
		s->port = 0;
		assert_true(server_bind(s, &s->udp, SOCK_DGRAM, on_server_udp));
		if (server_bind(s, &s->listener, SOCK_STREAM, on_server_accept))
			return;
		loop_io_close(&s->udp);
	}
}

static void server_stop(struct server *s)
{
	loop_io_close(&s->udp);
	loop_io_close(&s->listener);
	for (int i = 0; i < SERVER_CONNECTIONS; i++)
		loop_io_close(&s->connections[i]);
}
