/* Datagrams through VLESS: what leaves with the first of them, what comes back however it is cut, ends. */
#include "packet_stream.h"

static const struct sample {
	const char *host;
	const struct handshake_ops *ops[LAYERS + 1]; /* the lowest first */
	struct said header, answer;
} samples[] = {
	{ "127.0.0.1", { &vless_handshake }, SAID(TO_NAME), SAID("\0\3abc") },
	{ "::1", { &vless_handshake }, SAID(TO_NAME), SAID("\0\0") },
	{ "127.0.0.1",
	  { &proxy_v1_handshake, &vless_handshake },
	  SAID(PROXY_1 TO_NAME),
	  SAID("\0\0") },
	{ "127.0.0.1",
	  { &vless_handshake, &vless_handshake },
	  SAID(TO_PEER TO_NAME),
	  SAID("\0\2xy\0\1z") },
};

#define SAMPLE_FRAMES "\0\3one\0\0\0\3two"

/* With the first datagrams, in one write, and never again. */
static void test_header(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *sample = &samples[i];
		static const struct datagram list[] = {
			{ .data = (const uint8_t *)"one", .len = 3 },
			{ .data = NULL, .len = 0 },
			{ .data = (const uint8_t *)"two", .len = 3 },
		};
		char want[256];
		struct packet_scene p;
		struct datagram_sent sent;

		build(&p, sample->host, sample->ops);
		dial_to(&p, &name);
		assert_string_equal(way_of(&p)->ops->name, "vless");
		assert_true(way_of(&p)->bound);
		assert_int_equal(way_of(&p)->peer.family, AF_UNSPEC);
		assert_null(p.s.result.owed);
		assert_false(readable(p.s.proxy));
		packet_send(way_of(&p), list, 3, &sent);
		assert_int_equal(sent.sent, 3);
		assert_int_equal(sent.failed, 0);
		memcpy(want, sample->header.text, sample->header.len);
		memcpy(want + sample->header.len, SAMPLE_FRAMES, sizeof(SAMPLE_FRAMES) - 1);
		hears(&p, want, sample->header.len + sizeof(SAMPLE_FRAMES) - 1);
		sends(&p, &nobody, "x", 1);
		HEARS(&p, "\0\1x");
		end(&p);
	}
}

/* Once, also with more datagrams than one write takes. */
static void test_header_of_many(void **state)
{
	struct datagram list[100];
	uint8_t numbers[100], want[sizeof(TO_NAME) - 1 + sizeof(list) / sizeof(*list) * 3];
	struct datagram_sent sent;
	struct packet_scene p;

	memcpy(want, TO_NAME, sizeof(TO_NAME) - 1);
	for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
		uint8_t *frame = want + sizeof(TO_NAME) - 1 + (size_t)i * 3;

		numbers[i] = frame[2] = (uint8_t)i;
		frame_head(frame, 1);
		list[i] = (struct datagram){ .data = &numbers[i], .len = 1 };
	}
	begin(&p, &name);
	packet_send(way_of(&p), list, ARRAY_SIZE(list), &sent);
	assert_int_equal(sent.sent, ARRAY_SIZE(list));
	hears(&p, want, sizeof(want));
	end(&p);
}

/* @cut bytes at once, and the rest; or each byte for itself. */
static void hear_cut(struct packet_scene *p, const struct said *said, size_t answer_len, size_t cut)
{
	const uint8_t *text = said->text;
	size_t part;

	for (size_t at = 0; at < said->len; at += part) {
		part = !cut ? 1 : at ? said->len - at : cut;
		proxy_say(&p->s, text + at, part);
		if (at + part < answer_len + 5)
			expect_none(p);
	}
	expect_one(p, &nobody, "one", 3);
	expect_one(p, &nobody, "", 0);
	expect_one(p, &nobody, "two", 3);
	expect_none(p);
}

/* The answer and the frames. */
static void test_every_split(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *sample = &samples[i];
		size_t len = sample->answer.len + sizeof(SAMPLE_FRAMES) - 1;
		struct packet_scene p;
		char said[64];

		memcpy(said, sample->answer.text, sample->answer.len);
		memcpy(said + sample->answer.len, SAMPLE_FRAMES, sizeof(SAMPLE_FRAMES) - 1);
		build(&p, sample->host, sample->ops);
		for (size_t cut = 0; cut <= len; cut++) {
			dial_to(&p, &name);
			if (cut & 1)
				sends(&p, &nobody, "x", 1);
			hear_cut(&p, &(struct said){ said, len }, sample->answer.len, cut);
			scene_over(&p.s, false);
		}
		packet_scene_deinit(&p);
	}
}

static void test_address(void **state)
{
	const struct addr other = address("10.1.2.3", 54);
	const struct target target = target4();
	struct packet_scene p;

	begin(&p, &target);
	assert_true(addr_equal(&way_of(&p)->peer, &target.addr));
	assert_int_equal(send_to(&p, &other, "x", 1).err, -EISCONN);
	sends(&p, &target.addr, "x", 1);
	HEARS(&p, TO_ADDR "\0\1x");
	end(&p);
}

static void test_over_socks5(void **state)
{
	static const struct handshake_ops *const ops[] = { &socks5_handshake, &vless_handshake,
							   NULL };
	static const struct line lines[] = {
		{ SAID("\5\1\0"), SAID("\5\0") },
		{ SAID("\5\1\0\1\12\11\11\11\4\70"), SAID("\5\0\0\1\0\0\0\0\0\0") },
	};
	struct packet_scene p;

	build(&p, "127.0.0.1", ops);
	assert_int_equal(scene_start(&p.s, &name), 0);
	assert_true(play(&p.s, lines, 2, 0));
	(void)way_made(&p);
	sends(&p, &nobody, "x", 1);
	HEARS(&p, TO_NAME "\0\1x");
	SAYS(&p, "\0\0\0\1y");
	expect_one(&p, &nobody, "y", 1);
	end(&p);
}

/* A SOCKS5 proxy at the end of a tunnel: its stream is one connection, its relay another. */
static void test_below_socks5(void **state)
{
	static const struct handshake_ops *const ops[] = { &vless_handshake, &socks5_handshake,
							   NULL };
	static const struct line lines[] = {
		{ SAID(TO_PEER "\5\1\0"), SAID("\0\0\5\0") },
		{ SAID("\5\3\0\1\0\0\0\0\0\0"), SAID("\5\0\0\1\12\11\11\10\4\70") },
	};
	const struct target target = target4();
	struct packet_scene p;
	int first;

	build(&p, "127.0.0.1", ops);
	assert_int_equal(scene_start(&p.s, &target), 0);
	assert_true(play(&p.s, lines, 2, 0));
	first = TAKE_FD(p.s.proxy);
	assert_true(proxy_accept(&p.s));
	(void)way_made(&p);
	sends(&p, &nobody, "x", 1);
	HEARS(&p, "\0" UUID "\0\2\4\70\1\12\11\11\10"
		  "\0\13"
		  "\0\0\0\1\12\1\2\3\0\65"
		  "x");
	SAYS(&p, "\0\0"
		 "\0\13"
		 "\0\0\0\1\12\1\2\3\0\65"
		 "y");
	expect_one(&p, &target.addr, "y", 1);
	close(first);
	expect_end(&p, -ECONNRESET, "the proxy hung up");
	end(&p);
}

static void test_train_and_head(void **state)
{
	static const struct datagram list[] = {
		{ .data = (const uint8_t *)"aabbc", .len = 5, .segment = 2 },
		{ .data = (const uint8_t *)"x",
		  .len = 1,
		  .head = (const uint8_t *)"hd",
		  .head_len = 2 },
	};
	static uint8_t big[DATAGRAM_MAX];
	const struct datagram longest = { .data = big, .len = sizeof(big) };
	const struct datagram longer = {
		.data = big, .len = sizeof(big), .head = big, .head_len = 1
	};
	struct datagram_sent sent;
	struct packet_scene p;

	begin(&p, &name);
	packet_send(way_of(&p), list, 2, &sent);
	assert_int_equal(sent.sent, 4);
	HEARS(&p, TO_NAME "\0\2aa\0\2bb\0\1c\0\3hdx");
	packet_send(way_of(&p), &longer, 1, &sent);
	assert_int_equal(sent.failed, 1);
	assert_int_equal(sent.err, -EMSGSIZE);
	packet_send(way_of(&p), &longest, 1, &sent);
	assert_int_equal(sent.sent, 1);
	end(&p);
}

static void test_long_received(void **state)
{
	static uint8_t frame[FRAME_MAX];
	static const size_t lengths[] = { 60000, 65535, 1, 65535 };
	struct packet_scene p;

	begin(&p, &name);
	sends(&p, &nobody, "x", 1);
	SAYS(&p, "\0\0");
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		const struct datagram *one;
		size_t at = 0, end = FRAME_HEAD + lengths[i];

		memset(frame, (int)i + 1, sizeof(frame));
		frame_head(frame, lengths[i]);
		while (at < end) {
			size_t part = end - at < 10000 ? end - at : 10000;
			ssize_t n = send(p.s.proxy, frame + at, part, MSG_NOSIGNAL);

			at += n > 0 ? (size_t)n : 0;
			if (at < end)
				expect_none(&p);
		}
		one = receive_one(&p);
		assert_int_equal(one->len, lengths[i]);
		assert_memory_equal(one->data, frame + FRAME_HEAD, lengths[i]);
	}
	expect_none(&p);
	end(&p);
}

/* More frames than fit in one batch, in one piece. */
static void test_many_received(void **state)
{
	uint8_t frames[100][3];
	struct packet_scene p;

	begin(&p, &name);
	SAYS(&p, "\0\0");
	for (unsigned i = 0; i < 100; i++) {
		frame_head(frames[i], 1);
		frames[i][2] = (uint8_t)i;
	}
	proxy_say(&p.s, frames, sizeof(frames));
	for (unsigned i = 0; i < 100; i++)
		expect_one(&p, &nobody, &frames[i][2], 1);
	expect_none(&p);
	end(&p);
}

static void test_ends(void **state)
{
	static const struct {
		struct said said;
		bool reset;
		int err;
		const char *call;
	} ends[] = {
		{ SAID(""), false, -ECONNRESET, "the proxy hung up" },
		{ SAID("\0"), false, -ECONNRESET, "the proxy hung up" },
		{ SAID("\0\0\0\5half"), false, -ECONNRESET, "the proxy hung up" },
		{ SAID(""), true, -ECONNRESET, "vless" },
		{ SAID("\1"), false, -EPROTO, "the proxy does not speak VLESS 0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct packet_scene p;

		begin(&p, &name);
		sends(&p, &nobody, "x", 1);
		HEARS(&p, TO_NAME "\0\1x");
		proxy_say(&p.s, ends[i].said.text, ends[i].said.len);
		if (ends[i].reset)
			assert_int_equal(sock_set_reset_on_close(p.s.proxy), 0);
		close(TAKE_FD(p.s.proxy));
		expect_end(&p, ends[i].err, ends[i].call);
		(void)send_to(&p, &nobody, "x", 1);
		end(&p);
	}
}

/* What came before the end is received before it. */
static void test_last_words(void **state)
{
	struct packet_scene p;

	begin(&p, &name);
	SAYS(&p, "\0\0\0\1x");
	close(TAKE_FD(p.s.proxy));
	expect_one(&p, &nobody, "x", 1);
	expect_end(&p, -ECONNRESET, "the proxy hung up");
	end(&p);
}

static void test_cancel_at_every_turn(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		bool over = false;
		struct packet_scene p;

		build(&p, samples[i].host, samples[i].ops);
		for (int turns = 0; !over; turns++) {
			p.s.turns = turns;
			assert_int_equal(scene_start(&p.s, &name), 0);
			over = proxy_accept(&p.s) && settle(&p.s);
			scene_over(&p.s, turns & 1);
			assert_true(turns < 1000);
		}
		assert_int_equal(p.s.done, 1);
		packet_scene_deinit(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),         cmocka_unit_test(test_header_of_many),
		cmocka_unit_test(test_every_split),    cmocka_unit_test(test_address),
		cmocka_unit_test(test_over_socks5),    cmocka_unit_test(test_below_socks5),
		cmocka_unit_test(test_train_and_head), cmocka_unit_test(test_long_received),
		cmocka_unit_test(test_many_received),  cmocka_unit_test(test_ends),
		cmocka_unit_test(test_last_words),     cmocka_unit_test(test_cancel_at_every_turn),
	};

	return enter_new_namespace() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIP;
}
