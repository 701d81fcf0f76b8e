/* Thousands of ways through proxies that answer, refuse, or hang up at any moment; dials are cancelled and ways
 * closed on the way, also while something is on its way in them. Nothing may be left over. */
#include "../net/common.h"
#include "base/cleanup.h"
#include "base/names.h"
#include "dial/direct.h"
#include "dial/handshake.h"
#include "dial/packet.h"
#include "net/sock.h"
#include "proto/socks5_address.h"

#define DIALS   3000
#define SLOTS   48
#define CLIENTS 256
#define UUID    "0123456789abcdef"

/* Of the proxy: a connection to it. */
struct client {
	int fd;         /* -1: none */
	size_t heard;   /* bytes */
	unsigned turns; /* until it is hung up */
};

struct slot {
	struct crowd *crowd;
	struct dial *dial;
	struct packet_way *way;
	unsigned turns; /* left before it is given up */
	bool busy, ended;
};

struct crowd {
	struct loop loop;
	struct dial_env env;
	struct direct_dialer direct;
	struct handshake_dialer layers[3]; /* SOCKS5, VLESS, VLESS behind a PROXY header */
	struct handshake_dialer header;
	struct datagram_batch *batch;
	int listener, relay;
	struct addr relay_addr;
	struct client clients[CLIENTS];
	struct slot slots[SLOTS];
	unsigned started, made, failed, cancelled, closed, ended, echoed;
};

static unsigned below(unsigned limit)
{
	return (unsigned)rand() % limit;
}

/* The proxy */

static void hang_up(struct client *client)
{
	if (below(2))
		assert_int_equal(sock_set_reset_on_close(client->fd), 0);
	close(TAKE_FD(client->fd));
}

static void say(const struct client *client, const void *text, size_t len)
{
	(void)send(client->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void socks5_answer(const struct crowd *c, const struct client *client, size_t before)
{
	uint8_t reply[3 + SOCKS5_ADDRESS_MAX] = { 5, below(20) ? 0 : 7 };
	size_t len = 3 + socks5_put_address(reply + 3, &c->relay_addr, NULL);

	if (!before)
		say(client, "\5", 1 + !!below(20)); /* some say only half of it */
	else if (before == 3)
		say(client, reply, len);
}

/* VLESS: the header, which is not looked at, is answered; what is behind the first words comes back. */
static void serve(const struct crowd *c, struct client *client)
{
	uint8_t buf[2048];
	ssize_t n = recv(client->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (!n || !client->turns-- || (n < 0 && errno != EAGAIN)) {
		hang_up(client);
		return;
	}
	if (n < 0)
		return;
	if (!client->heard && buf[0] != 5)
		say(client, "\0\2ab\0\4echo\0", below(10) ? 10 : 11); /* or half a length more */
	else if (buf[0] == 5)
		socks5_answer(c, client, client->heard);
	else
		say(client, buf, (size_t)n);
	client->heard += (size_t)n;
}

static void serve_all(struct crowd *c)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	uint8_t buf[2048];
	ssize_t n;

	for (int i = 0; i < CLIENTS; i++) {
		struct client *client = &c->clients[i];

		if (client->fd >= 0)
			serve(c, client);
		if (client->fd >= 0)
			continue;
		client->fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		client->heard = 0;
		client->turns = below(16);
	}
	while ((n = recvfrom(c->relay, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len)) >= 0)
		(void)sendto(c->relay, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
}

/* Ways */

static void slot_over(struct slot *slot)
{
	packet_close(TAKE_PTR(slot->way));
	slot->busy = slot->ended = false;
	slot->dial = NULL;
}

static void on_ready(void *owner)
{
	struct slot *slot = owner;
	struct crowd *c = slot->crowd;
	const struct datagram *list;
	int n = packet_receive(slot->way, c->batch, &list);

	assert_false(slot->ended);
	for (int i = 0; i < n; i++)
		c->echoed += list[i].len == 4 && !memcmp(list[i].data, "echo", 4);
	if (n < 0 && n != -EAGAIN) {
		assert_non_null(slot->way->call);
		slot->ended = true;
		c->ended++;
		slot_over(slot); /* in its own callback */
	}
}

static void on_done(void *owner, const struct dial_result *result)
{
	struct slot *slot = owner;

	assert_true(slot->busy && !slot->way);
	assert_null(result->io);
	assert_null(result->owed);
	slot->dial = NULL;
	if (result->err) {
		assert_non_null(result->call);
		slot->crowd->failed++;
		slot_over(slot);
		return;
	}
	slot->crowd->made++;
	slot->way = result->packet;
	packet_listen(slot->way, on_ready, slot);
}

static void slot_start(struct crowd *c, struct slot *slot)
{
	const struct dial_request request = { .env = &c->env,
					      .type = SOCK_DGRAM,
					      .one_peer = below(2),
					      .target.addr = address("10.1.2.3", 53),
					      .source = address("10.0.0.1", 4000),
					      .original = address("10.1.2.3", 53),
					      .done = on_done,
					      .owner = slot };
	const char *call = NULL;

	*slot = (struct slot){ .crowd = c, .turns = below(below(2) ? 4 : 24), .busy = true };
	c->started++;
	if (dial_start(&slot->dial, &c->layers[below(ARRAY_SIZE(c->layers))].base, &request,
		       &call)) {
		c->failed++;
		slot_over(slot);
	}
}

static void slot_turn(struct crowd *c, struct slot *slot)
{
	static const struct datagram echo = { .data = (const uint8_t *)"echo", .len = 4 };
	struct datagram_sent sent;

	if (slot->busy && !slot->turns--) {
		dial_cancel(slot->dial, below(2));
		c->cancelled += slot->dial != NULL;
		c->closed += slot->way != NULL;
		slot_over(slot);
	}
	if (slot->way && below(2))
		packet_send(slot->way, &echo, 1, &sent);
	if (!slot->busy && c->started < DIALS)
		slot_start(c, slot);
}

static bool busy(const struct crowd *c)
{
	for (int i = 0; i < SLOTS; i++)
		if (c->slots[i].busy)
			return true;
	return false;
}

/* Around */

static void build(struct crowd *c, const struct addr *proxy)
{
	static const struct handshake_config config = { .uuid = (const uint8_t *)UUID };

	c->direct = (struct direct_dialer){ .base.ops = &dial_direct_ops,
					    .connect_timeout_ms = 1000 };
	c->header = (struct handshake_dialer){ .base.ops = &dial_handshake_ops,
					       .via = &c->direct.base,
					       .ops = &proxy_v1_handshake };
	for (size_t i = 0; i < ARRAY_SIZE(c->layers); i++)
		c->layers[i] = (struct handshake_dialer){
			.base.ops = &dial_handshake_ops,
			.via = i == 2 ? &c->header.base : &c->direct.base,
			.ops = i ? &vless_handshake : &socks5_handshake,
			.config = config,
			.proxy.addr = *proxy
		};
}

static void open_all(struct crowd *c, const char *host)
{
	struct addr any = address(host, 0), proxy;

	assert_int_equal(loop_init(&c->loop), 0);
	assert_int_equal(datagram_batch_new(&c->batch), 0);
	c->env.loop = &c->loop;
	c->listener = socket(any.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(sock_bind_address(c->listener, &any, false), 0);
	assert_int_equal(listen(c->listener, 1000), 0);
	assert_int_equal(sock_local_addr(c->listener, &proxy), 0);
	c->relay = socket(any.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(sock_bind_address(c->relay, &any, false), 0);
	assert_int_equal(sock_local_addr(c->relay, &c->relay_addr), 0);
	for (int i = 0; i < CLIENTS; i++)
		c->clients[i].fd = -1;
	build(c, &proxy);
}

static void close_all(struct crowd *c)
{
	for (int i = 0; i < CLIENTS; i++)
		if (c->clients[i].fd >= 0)
			close(c->clients[i].fd);
	close(c->listener);
	close(c->relay);
	loop_deinit(&c->loop);
	datagram_batch_free(c->batch);
}

static void nothing_is_left(const char *host)
{
	unsigned fds = open_fds();
	struct crowd *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	srand(1928);
	open_all(c, host);
	do {
		for (int i = 0; i < SLOTS; i++)
			slot_turn(c, &c->slots[i]);
		assert_int_equal(loop_run_once(&c->loop, 0), 0);
		serve_all(c);
	} while (c->started < DIALS || busy(c));
	assert_int_equal(c->loop.io_count, 0);
	assert_true(timer_wheel_empty(&c->loop.timers));
	close_all(c);
	assert_int_equal(open_fds(), fds);
	print_message("%u made, %u failed, %u cancelled, %u closed, %u ended, %u echoes\n", c->made,
		      c->failed, c->cancelled, c->closed, c->ended, c->echoed);
	assert_int_equal(c->made + c->failed + c->cancelled, DIALS);
	assert_int_equal(c->closed + c->ended, c->made);
	assert_true(c->made > DIALS / 5 && c->failed > DIALS / 50 && c->cancelled > DIALS / 20 &&
		    c->closed > DIALS / 20 && c->ended > DIALS / 50 && c->echoed > DIALS / 10);
	free(c);
}

static void test_ipv4(void **state)
{
	nothing_is_left("127.0.0.1");
}

static void test_ipv6(void **state)
{
	nothing_is_left("::1");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ipv4),
					    cmocka_unit_test(test_ipv6) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
