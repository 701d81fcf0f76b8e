/* What goes through a SOCKS5 proxy and comes back: headers, relays, order, lengths, trains. */
#include <netinet/udp.h>
#include "packet_socks5.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_way),      cmocka_unit_test(test_name),
		cmocka_unit_test(test_password), cmocka_unit_test(test_one_peer),
		cmocka_unit_test(test_dropped),  cmocka_unit_test(test_relay_of_proxy),
		cmocka_unit_test(test_long),     cmocka_unit_test(test_order),
		cmocka_unit_test(test_train),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
