/* Datagrams through SOCKS5: the test is the proxy, with its stream and its relay. */
#include <netinet/udp.h>
#include "packet_scene.h"
#include "proto/socks5_datagram.h"

#define ASK       "\5\3\0\1\0\0\0\0\0\0"
#define HEAD4     "\0\0\0\1\12\1\2\3\0\65"                           /* 10.1.2.3:53 */
#define HEAD6     "\0\0\0\4\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\7\1\273" /* [fd00::7]:443 */
#define HEAD_NAME "\0\0\0\3\6a.test\1\273"

static const struct target name = { .domain = "a.test", .addr.port = 443 };
static const struct handshake_config password = { .username = "me", .password = "pw" };
static const char *const hosts[] = { "127.0.0.1", "::1" };

static struct target target4(void)
{
	return (struct target){ .addr = address("10.1.2.3", 53) };
}

/* What the proxy says its relay is. */
struct reply {
	size_t len;
	uint8_t data[3 + SOCKS5_ADDRESS_MAX];
};

static struct reply reply_of(const struct addr *addr, const char *domain)
{
	struct reply reply = { .data = { 5 } };

	reply.len = 3 + socks5_put_address(reply.data + 3, addr, domain);
	return reply;
}

/* The proxy's part, up to the way; false: the test has cancelled. */
static bool associate(struct packet_scene *p, const struct target *target,
		      const struct reply *reply)
{
	const struct line lines[] = { { SAID("\5\1\0"), SAID("\5\0") },
				      { SAID(ASK), { reply->data, reply->len } } };

	assert_int_equal(scene_start(&p->s, target), 0);
	return play(&p->s, lines, 2, 0);
}

static void begin(struct packet_scene *p, const char *host, const struct target *target)
{
	struct reply reply;

	packet_scene_init(p, host);
	add_layer(&p->s, &socks5_handshake, NULL, NULL);
	reply = reply_of(&p->relay_addr, NULL);
	assert_true(associate(p, target, &reply));
	(void)way_made(p);
}

static void end(struct packet_scene *p)
{
	scene_over(&p->s, false);
	packet_scene_deinit(p);
}

static void relay_hears(struct packet_scene *p, const void *data, size_t len)
{
	static uint8_t buf[DATAGRAM_MAX];
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(p->relay, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len);

	assert_int_equal(n, len);
	assert_memory_equal(buf, data, len);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&from, &p->client), 0);
}

static void relay_says(struct packet_scene *p, const void *data, size_t len)
{
	struct sockaddr_storage to;
	socklen_t to_len = addr_to_sockaddr(&p->client, &to);

	assert_int_equal(sendto(p->relay, data, len, 0, (struct sockaddr *)&to, to_len), len);
}

#define HEARS(p, literal) relay_hears(p, literal, sizeof(literal) - 1)
#define SAYS(p, literal)  relay_says(p, literal, sizeof(literal) - 1)

static void test_way(void **state)
{
	const struct target target = target4();
	const struct addr other = address("fd00::7", 443);

	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct packet_scene p;

		begin(&p, hosts[i], &target);
		assert_string_equal(way_of(&p)->ops->name, "socks5");
		assert_true(addr_equal(&way_of(&p)->peer, &target.addr));
		assert_false(way_of(&p)->bound);
		sends(&p, &nobody, "one", 3);
		sends(&p, &other, "two", 3);
		sends(&p, &target.addr, "", 0);
		HEARS(&p, HEAD4 "one");
		HEARS(&p, HEAD6 "two");
		HEARS(&p, HEAD4);
		SAYS(&p, HEAD6 "b");
		SAYS(&p, HEAD4 "a");
		SAYS(&p, HEAD4);
		SAYS(&p, HEAD_NAME "c");
		expect_one(&p, &other, "b", 1);
		expect_one(&p, &target.addr, "a", 1);
		expect_one(&p, &target.addr, "", 0);
		expect_one(&p, &nobody, "c", 1);
		expect_none(&p);
		assert_int_equal(way_of(&p)->dropped, 0);
		end(&p);
	}
}

static void test_name(void **state)
{
	const struct addr source = address("fd00::7", 443);
	struct packet_scene p;

	begin(&p, hosts[0], &name);
	assert_int_equal(way_of(&p)->peer.family, AF_UNSPEC);
	sends(&p, &nobody, "one", 3);
	HEARS(&p, HEAD_NAME "one");
	SAYS(&p, HEAD6 "a");
	expect_one(&p, &source, "a", 1);
	end(&p);
}

static void test_password(void **state)
{
	const struct target target = target4();
	struct packet_scene p;
	struct reply reply;

	packet_scene_init(&p, hosts[0]);
	add_layer(&p.s, &socks5_handshake, &password, NULL);
	reply = reply_of(&p.relay_addr, NULL);
	assert_int_equal(scene_start(&p.s, &target), 0);
	assert_true(play(&p.s,
			 (struct line[]){ { SAID("\5\2\0\2"), SAID("\5\2") },
					  { SAID("\1\2me\2pw"), SAID("\1\0") },
					  { SAID(ASK), { reply.data, reply.len } } },
			 3, SIZE_MAX));
	(void)way_made(&p);
	sends(&p, &nobody, "x", 1);
	HEARS(&p, HEAD4 "x");
	end(&p);
}

/* With one peer: only what it says is heard, or what comes for a name. */
static void test_one_peer(void **state)
{
	const struct target targets[] = { target4(), name };
	const struct addr other = address("10.1.2.4", 53);

	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		struct packet_scene p;
		struct reply reply;

		packet_scene_init(&p, hosts[0]);
		add_layer(&p.s, &socks5_handshake, NULL, NULL);
		p.s.one_peer = true;
		reply = reply_of(&p.relay_addr, NULL);
		assert_true(associate(&p, &targets[i], &reply));
		assert_true(way_made(&p)->bound);
		sends(&p, &nobody, "x", 1);
		relay_hears(&p, i ? HEAD_NAME "x" : HEAD4 "x", i ? 14 : 11);
		assert_int_equal(send_to(&p, &other, "x", 1).err, -EISCONN);
		SAYS(&p, HEAD6 "b");
		SAYS(&p, HEAD4 "a");
		SAYS(&p, HEAD_NAME "c");
		if (i)
			expect_one(&p, &nobody, "b", 1);
		expect_one(&p, i ? &nobody : &targets[0].addr, "a", 1);
		expect_one(&p, &nobody, "c", 1);
		expect_none(&p);
		assert_int_equal(way_of(&p)->dropped, !i);
		end(&p);
	}
}

static void test_dropped(void **state)
{
	const struct target target = target4();
	struct packet_scene p;

	begin(&p, hosts[0], &target);
	sends(&p, &nobody, "x", 1);
	HEARS(&p, HEAD4 "x");
	SAYS(&p, "");
	SAYS(&p, "\0\0\1\1\12\1\2\3\0\65fragment");
	SAYS(&p, "garbage");
	expect_none(&p);
	assert_int_equal(way_of(&p)->dropped, 3);
	SAYS(&p, "\0\0\0\3\377cut");
	SAYS(&p, HEAD4 "a");
	expect_one(&p, &target.addr, "a", 1);
	assert_int_equal(way_of(&p)->dropped, 4);
	end(&p);
}

/* Where the proxy is, as an address or as a name that is one. */
static void test_relay_of_proxy(void **state)
{
	const struct target target = target4();

	for (int i = 0; i < 8; i++) {
		struct packet_scene p;
		struct reply reply;
		struct addr zeros;

		packet_scene_init(&p, hosts[i & 1]);
		add_layer(&p.s, &socks5_handshake, NULL, NULL);
		zeros = address(i & 2 ? "::" : "0.0.0.0", p.relay_addr.port);
		reply = reply_of(&zeros, i < 4 ? NULL : i & 2 ? "" : hosts[i & 1]);
		assert_true(associate(&p, &target, &reply));
		(void)way_made(&p);
		sends(&p, &nobody, "x", 1);
		HEARS(&p, HEAD4 "x");
		end(&p);
	}
}

/* 65 535 less the headers is the most; and back. */
static void test_long(void **state)
{
	static uint8_t said[10 + 60000] = HEAD4;
	const struct target target = target4();

	for (size_t i = 10; i < sizeof(said); i++)
		said[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct packet_scene p;

		begin(&p, hosts[i], &target);
		sends(&p, &nobody, said + 10, 60000);
		relay_hears(&p, said, sizeof(said));
		relay_says(&p, said, sizeof(said));
		expect_one(&p, &target.addr, said + 10, 60000);
		assert_int_equal(send_to(&p, &nobody, said, 65530).err, -EMSGSIZE);
		end(&p);
	}
}

/* More than fit in one call, to different destinations: all in order. */
static void test_order(void **state)
{
	const struct target target = target4();
	struct datagram list[100];
	uint8_t numbers[100], head[SOCKS5_DATAGRAM_HEAD_MAX + 1];
	struct datagram_sent sent;
	struct packet_scene p;

	begin(&p, hosts[0], &target);
	for (unsigned i = 0; i < 100; i++) {
		numbers[i] = (uint8_t)i;
		list[i] = (struct datagram){ .destination = i % 3 ? address("fd00::7", i) : nobody,
					     .data = &numbers[i],
					     .len = 1 };
	}
	packet_send(way_of(&p), list, 100, &sent);
	assert_int_equal(sent.sent, 100);
	for (unsigned i = 0; i < 100; i++) {
		const struct addr *to = i % 3 ? &list[i].destination : &target.addr;
		size_t len = socks5_wrap(head, to, NULL);

		head[len] = (uint8_t)i;
		relay_hears(&p, head, len + 1);
		relay_says(&p, head, len + 1);
	}
	for (unsigned i = 0; i < 100; i++)
		expect_one(&p, i % 3 ? &list[i].destination : &target.addr, &numbers[i], 1);
	expect_none(&p);
	end(&p);
}

/* Each of a train has its header; also when the kernel could have made one of what comes back. */
static void test_train(void **state)
{
	const struct target target = target4();
	const struct datagram train = { .data = (const uint8_t *)"aabbccd",
					.len = 7,
					.segment = 2 };
	struct datagram_sent sent;
	struct packet_scene p;

	begin(&p, hosts[0], &target);
	packet_send(way_of(&p), &train, 1, &sent);
	assert_int_equal(sent.sent, 4);
	HEARS(&p, HEAD4 "aa");
	HEARS(&p, HEAD4 "bb");
	HEARS(&p, HEAD4 "cc");
	HEARS(&p, HEAD4 "d");
	{
		static const int segment = 11;
		struct sockaddr_storage to;
		socklen_t len = addr_to_sockaddr(&p.client, &to);

		/* loopback hands them on in one piece */
		assert_int_equal(
			setsockopt(p.relay, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)), 0);
		assert_int_equal(sendto(p.relay, HEAD4 "x" HEAD4 "y" HEAD4 "z", 33, 0,
					(struct sockaddr *)&to, len),
				 33);
	}
	expect_one(&p, &target.addr, "x", 1);
	expect_one(&p, &target.addr, "y", 1);
	expect_one(&p, &target.addr, "z", 1);
	end(&p);
}

static void test_control_ends(void **state)
{
	const struct target target = target4();

	for (int i = 0; i < 3; i++) {
		struct packet_scene p;

		begin(&p, hosts[0], &target);
		sends(&p, &nobody, "x", 1);
		HEARS(&p, HEAD4 "x");
		if (i == 0)
			assert_int_equal(sock_set_reset_on_close(p.s.proxy), 0);
		if (i < 2)
			close(TAKE_FD(p.s.proxy));
		else
			proxy_say(&p.s, "\5", 1);
		expect_end(&p, i < 2 ? -ECONNRESET : -EPROTO,
			   i < 2 ? "the proxy hung up"
				 : "socks5: the proxy speaks after its reply");
		assert_int_equal(packet_receive(way_of(&p), p.batch, &p.list),
				 i < 2 ? -ECONNRESET : -EPROTO); /* and stays so */
		assert_false(is_ready(&p));                      /* and is told once */
		end(&p);
	}
}

/* Between the reply and the way: seen by the dial, or by the way. */
static void test_control_ends_early(void **state)
{
	const struct target target = target4();

	for (int early = 0; early < 4; early++) {
		struct packet_scene p;
		struct reply reply;

		packet_scene_init(&p, hosts[0]);
		add_layer(&p.s, &socks5_handshake, NULL, NULL);
		reply = reply_of(&p.relay_addr, NULL);
		assert_int_equal(scene_start(&p.s, &target), 0);
		assert_true(play(&p.s, (struct line[]){ { SAID("\5\1\0"), SAID("\5\0") } }, 1, 0));
		assert_true(proxy_expect(&p.s, &(struct said)SAID(ASK)));
		proxy_say(&p.s, reply.data, reply.len);
		for (int i = 0; i < early; i++)
			assert_true(turn(&p.s));
		close(TAKE_FD(p.s.proxy));
		for (int i = 0; i < 10 && !p.s.done; i++)
			assert_int_equal(loop_run_once(&p.s.loop, 1), 0);
		assert_int_equal(p.s.done, 1);
		if (p.s.result.err) {
			assert_int_equal(p.s.result.err, -ECONNRESET);
			assert_string_equal(p.s.result.call, "the proxy hung up");
		} else {
			(void)way_made(&p);
			expect_end(&p, -ECONNRESET, "the proxy hung up");
		}
		end(&p);
	}
}

/* Nobody has the port of the relay any more. */
static void test_relay_gone(void **state)
{
	const struct target target = target4();
	struct packet_scene p;

	begin(&p, hosts[0], &target);
	close(p.relay);
	sends(&p, &nobody, "x", 1);
	expect_end(&p, -ECONNREFUSED, "icmp");
	p.relay = open("/dev/null", O_RDONLY | O_CLOEXEC);
	end(&p);
}

static void test_refused(void **state)
{
	static const struct {
		struct said answer;
		int err;
		const char *call;
	} samples[] = {
		{ SAID("\5\7\0\1\0\0\0\0\0\0"), -EOPNOTSUPP,
		  "socks5: UDP ASSOCIATE is not supported" },
		{ SAID("\5\2\0\1\0\0\0\0\0\0"), -EACCES,
		  "socks5: not allowed by the proxy's rules" },
		{ SAID("\5\0\0\1\12\0\0\1\0\0"), -EPROTO, "socks5: a relay for UDP that is none" },
	};
	const struct target target = target4();

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct packet_scene p;
		const struct line lines[] = { { SAID("\5\1\0"), SAID("\5\0") },
					      { SAID(ASK), samples[i].answer } };

		packet_scene_init(&p, hosts[0]);
		add_layer(&p.s, &socks5_handshake, NULL, NULL);
		assert_int_equal(scene_start(&p.s, &target), 0);
		assert_true(play(&p.s, lines, 2, 0));
		assert_int_equal(p.s.done, 1);
		assert_int_equal(p.s.result.err, samples[i].err);
		assert_string_equal(p.s.result.call, samples[i].call);
		end(&p);
	}
}

static void test_no_datagrams(void **state)
{
	static const struct {
		const struct handshake_ops *ops;
		const char *call;
	} samples[] = {
		{ &http_connect_handshake, "http carries no UDP" },
		{ &socks4_handshake, "socks4 carries no UDP" },
		{ &proxy_v1_handshake, "proxy_protocol carries no UDP" },
		{ &proxy_v2_handshake, "proxy_protocol carries no UDP" },
	};
	const struct target target = target4();

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct packet_scene p;

		packet_scene_init(&p, hosts[0]);
		add_layer(&p.s, samples[i].ops, NULL, NULL);
		assert_int_equal(scene_start(&p.s, &target), -EPROTONOSUPPORT);
		assert_string_equal(p.s.result.call, samples[i].call);
		end(&p);
	}
}

static void test_cancel_at_every_turn(void **state)
{
	const struct target target = target4();
	bool over = false;
	struct packet_scene p;
	struct reply reply;

	packet_scene_init(&p, hosts[0]);
	add_layer(&p.s, &socks5_handshake, NULL, NULL);
	reply = reply_of(&p.relay_addr, NULL);
	for (int turns = 0; !over; turns++) {
		p.s.turns = turns;
		over = associate(&p, &target, &reply);
		scene_over(&p.s, turns & 1);
		assert_true(turns < 1000);
	}
	assert_int_equal(p.s.done, 1);
	packet_scene_deinit(&p);
}

/* A proxy behind a proxy: its stream and its relay are reached through the first, which puts its header before
 * that of the second. */
static const struct line asks_lower[] = { { SAID("\5\1\0"), SAID("\5\0") },
					  { SAID("\5\1\0\1\12\11\11\11\4\70"),
					    SAID("\5\0\0\1\0\0\0\0\0\0") },
					  { SAID("\5\1\0"), SAID("\5\0") },
					  { SAID(ASK), SAID("\5\0\0\1\0\0\0\0\21\134") } };
#define HEAD_UPPER "\0\0\0\1\12\11\11\11\21\134" /* 10.9.9.9:4444 */

static bool through_two(struct packet_scene *p, const struct target *target, int *ret_first)
{
	const struct reply reply = reply_of(&p->relay_addr, NULL);
	const struct line lines[] = { { SAID("\5\1\0"), SAID("\5\0") },
				      { SAID(ASK), { reply.data, reply.len } } };

	assert_int_equal(scene_start(&p->s, target), 0);
	if (!play(&p->s, asks_lower, ARRAY_SIZE(asks_lower), 0))
		return false;
	*ret_first = TAKE_FD(p->s.proxy);
	return play(&p->s, lines, 2, 0);
}

static void begin_two(struct packet_scene *p)
{
	const struct target upper = { .addr = address("10.9.9.9", 1080) };

	packet_scene_init(p, hosts[0]);
	add_layer(&p->s, &socks5_handshake, NULL, NULL);
	add_layer(&p->s, &socks5_handshake, NULL, &upper);
}

static void test_two(void **state)
{
	const struct addr seven = address("fd00::7", 443);
	const struct target target = target4();

	for (int i = 0; i < 2; i++) { /* which stream ends first */
		struct packet_scene p;
		int first;

		begin_two(&p);
		assert_true(through_two(&p, &target, &first));
		(void)way_made(&p);
		assert_false(way_of(&p)->bound);
		sends(&p, &nobody, "x", 1);
		HEARS(&p, HEAD_UPPER HEAD4 "x");
		SAYS(&p, HEAD4 "not of the second");
		SAYS(&p, HEAD_UPPER HEAD6 "y");
		expect_one(&p, &seven, "y", 1);
		expect_none(&p);
		if (i)
			close(first);
		else
			close(TAKE_FD(p.s.proxy));
		expect_end(&p, -ECONNRESET, "the proxy hung up");
		if (!i)
			close(first);
		end(&p);
	}
}

static void test_two_cancel(void **state)
{
	const struct target target = target4();
	bool over = false;
	struct packet_scene p;

	begin_two(&p);
	for (int turns = 0; !over; turns++) {
		int first = -1;

		p.s.turns = turns;
		over = through_two(&p, &target, &first);
		if (first >= 0)
			close(first);
		scene_over(&p.s, turns & 1);
		assert_true(turns < 1000);
	}
	packet_scene_deinit(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_way),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_password),
		cmocka_unit_test(test_one_peer),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_relay_of_proxy),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_train),
		cmocka_unit_test(test_control_ends),
		cmocka_unit_test(test_control_ends_early),
		cmocka_unit_test(test_relay_gone),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_datagrams),
		cmocka_unit_test(test_cancel_at_every_turn),
		cmocka_unit_test(test_two),
		cmocka_unit_test(test_two_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
