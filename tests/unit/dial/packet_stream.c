/* Datagrams through VLESS: what leaves with the first of them, what comes back however it is cut, and a stream
 * that has no room. */
#include <netinet/tcp.h>
#include "packet_scene.h"
#include "proto/frames.h"

#define UUID     "0123456789abcdef"
#define TO_NAME  "\0" UUID "\0\2\1\273\2\6a.test"
#define TO_ADDR  "\0" UUID "\0\2\0\65\1\12\1\2\3"    /* 10.1.2.3:53 */
#define TO_PEER  "\0" UUID "\0\1\4\70\1\12\11\11\11" /* 10.9.9.9:1080, a stream */
#define PROXY_1  "PROXY TCP4 10.0.0.1 10.1.2.3 40000 443\r\n"
#define READ_MAX (4 << 20)

static const struct target name = { .domain = "a.test", .addr.port = 443 };
static const struct handshake_config config = { .uuid = (const uint8_t *)UUID };

static struct target target4(void)
{
	return (struct target){ .addr = address("10.1.2.3", 53) };
}

static void build(struct packet_scene *p, const char *host, const struct handshake_ops *const *ops)
{
	const struct target upper = { .addr = address("10.9.9.9", 1080) };

	packet_scene_init(p, host);
	for (; *ops; ops++)
		add_layer(&p->s, *ops, &config,
			  p->s.layer_count && ((*ops)->answer || !(*ops)->deferred) ? &upper
										    : NULL);
}

static void dial_to(struct packet_scene *p, const struct target *target)
{
	assert_int_equal(scene_start(&p->s, target), 0);
	assert_true(proxy_accept(&p->s));
	(void)way_made(p);
}

static void begin(struct packet_scene *p, const struct target *target)
{
	static const struct handshake_ops *const ops[] = { &vless_handshake, NULL };

	build(p, "127.0.0.1", ops);
	dial_to(p, target);
}

static void end(struct packet_scene *p)
{
	scene_over(&p->s, false);
	packet_scene_deinit(p);
}

static void hears(struct packet_scene *p, const void *text, size_t len)
{
	assert_true(proxy_expect(&p->s, &(struct said){ text, len }));
	assert_false(readable(p->s.proxy));
}
#define HEARS(p, literal) hears(p, literal, sizeof(literal) - 1)
#define SAYS(p, literal)  proxy_say(&(p)->s, literal, sizeof(literal) - 1)

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

/* The answer and the frames, cut anywhere, and byte by byte. */
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
			size_t piece = cut ? len : 1, part;

			dial_to(&p, &name);
			if (cut & 1)
				sends(&p, &nobody, "x", 1);
			for (size_t at = 0; at < len; at += part) {
				part = !at && cut ? cut : piece < len - at ? piece : len - at;
				proxy_say(&p.s, said + at, part);
				if (at + part < sample->answer.len + 5)
					expect_none(&p);
			}
			expect_one(&p, &nobody, "one", 3);
			expect_one(&p, &nobody, "", 0);
			expect_one(&p, &nobody, "two", 3);
			expect_none(&p);
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

/* A stream without room */

static size_t length_of(unsigned number)
{
	static const size_t lengths[] = { 1200, 4, 65535, 30000, 1, 1472, 9000 };

	return 4 + lengths[number % ARRAY_SIZE(lengths)] -
	       (number % ARRAY_SIZE(lengths) == 2 ? 4 : 0);
}

static void fill(uint8_t *data, unsigned number)
{
	for (size_t i = 0; i < length_of(number); i++)
		data[i] = (uint8_t)(number >> (i % 4 * 8));
}

/* Whole frames in order; some may be missing. Returns how many there are. */
static unsigned check(const uint8_t *data, size_t len)
{
	static uint8_t want[DATAGRAM_MAX];
	unsigned count = 0, last = 0, number;
	size_t at, n;

	for (at = 0; at + FRAME_HEAD <= len; at += FRAME_HEAD + n, count++) {
		n = (size_t)data[at] << 8 | data[at + 1];
		assert_true(n >= 4 && at + FRAME_HEAD + n <= len);
		memcpy(&number, data + at + FRAME_HEAD, sizeof(number));
		assert_true(number < 100000 && (!count || number > last));
		last = number;
		fill(want, number);
		assert_int_equal(n, length_of(number));
		assert_memory_equal(data + at + FRAME_HEAD, want, n);
	}
	assert_int_equal(at, len);
	return count;
}

/* What the proxy has heard. */
struct heard {
	size_t len;
	uint8_t data[READ_MAX];
};

static void listen_to(const struct packet_scene *p, struct heard *heard, size_t most)
{
	ssize_t n = 1;

	while (most && n > 0) {
		size_t part = sizeof(heard->data) - heard->len;

		part = most < part ? most : part;
		assert_true(part > 0);
		n = recv(p->s.proxy, heard->data + heard->len, part, 0);
		heard->len += n > 0 ? (size_t)n : 0;
		most -= n > 0 ? (size_t)n : 0;
	}
}

/* What was sent of three; *@bytes grows by its frames. */
static unsigned send_three(struct packet_scene *p, unsigned first, size_t *bytes)
{
	static uint8_t data[3][DATAGRAM_MAX];
	struct datagram list[3];
	struct datagram_sent sent;

	for (unsigned i = 0; i < 3; i++) {
		fill(data[i], first + i);
		list[i] = (struct datagram){ .data = data[i], .len = length_of(first + i) };
	}
	packet_send(way_of(p), list, 3, &sent);
	assert_int_equal(sent.sent + sent.failed, 3);
	assert_int_equal(sent.err, sent.failed ? -EAGAIN : 0);
	for (unsigned i = 0; i < sent.sent; i++) /* the first ones */
		*bytes += FRAME_HEAD + length_of(first + i);
	return sent.sent;
}

/* @bytes in all; a window that was closed may take its time to open. */
static void hear_the_rest(struct packet_scene *p, struct heard *heard, size_t bytes)
{
	for (int i = 0; heard->len < bytes; i++) {
		assert_true(i < 5000);
		assert_int_equal(loop_run_once(&p->s.loop, 1), 0);
		listen_to(p, heard, SIZE_MAX);
	}
	expect_none(p);
	assert_false(readable(p->s.proxy));
	assert_int_equal(heard->len, bytes);
}

/* Nobody reads; then everything that counts as sent is there, and nothing in part. */
static void test_no_room(void **state)
{
	struct heard *heard = calloc(1, sizeof(*heard));
	unsigned number = 0, sent = 0, full = 0;
	struct packet_scene p;
	size_t skip = sizeof(TO_NAME) - 1, bytes = skip;

	assert_non_null(heard);
	begin(&p, &name);
	assert_int_equal(sock_set_send_buffer(p.s.proxy, 4096), 0);
	for (; full < 20; number += 3) {
		unsigned n = send_three(&p, number, &bytes);

		assert_true(number < 10000);
		sent += n;
		full += n < 3;
		assert_true(n == 0 || full < 2); /* what is full stays so */
	}
	expect_none(&p);
	hear_the_rest(&p, heard, bytes);
	assert_memory_equal(heard->data, TO_NAME, skip);
	assert_int_equal(check(heard->data + skip, heard->len - skip), sent);
	assert_int_equal(send_three(&p, number, &bytes), 3); /* there is room again */
	hear_the_rest(&p, heard, bytes);
	assert_int_equal(check(heard->data + skip, heard->len - skip), sent + 3);
	end(&p);
	free(heard);
}

/* The proxy reads a bit now and then. */
static void test_little_room(void **state)
{
	struct heard *heard = calloc(1, sizeof(*heard));
	unsigned sent = 0, lost = 0;
	struct packet_scene p;
	size_t skip = sizeof(TO_NAME) - 1, bytes = skip;

	assert_non_null(heard);
	srand(29);
	/* of this namespace: queues that two datagrams fill */
	if (system("sysctl -qw net.ipv4.tcp_wmem='4096 65536 131072' "
		   "net.ipv4.tcp_rmem='4096 131072 131072'"))
		skip();
	begin(&p, &name);
	for (unsigned number = 0; number < 900 && heard->len < READ_MAX / 2; number += 3) {
		unsigned n = send_three(&p, number, &bytes);

		sent += n;
		lost += 3 - n;
		listen_to(&p, heard, (size_t)(rand() % 30000));
		expect_none(&p);
	}
	hear_the_rest(&p, heard, bytes);
	assert_int_equal(check(heard->data + skip, heard->len - skip), sent);
	print_message("%u sent, %u lost\n", sent, lost);
	assert_true(sent > 10 && lost > 10);
	end(&p);
	free(heard);
}

/* Ends */

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

static bool syn_had_data(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_options & 32; /* TCPI_OPT_SYN_DATA */
}

/* Fast open: the first datagram leaves with the SYN, or after one that went alone. */
static void test_fast_open(void **state)
{
	static const int backlog = 8;
	static const struct handshake_ops *const ops[] = { &vless_handshake, NULL };
	uint8_t heard[sizeof(TO_NAME "\0\3one") - 1];
	unsigned had_data = 0;
	struct packet_scene p;

	if (system("sysctl -qw net.ipv4.tcp_fastopen=3 "
		   "net.ipv4.tcp_fastopen_blackhole_timeout_sec=0"))
		skip();
	build(&p, "127.0.0.1", ops);
	p.s.direct.options.tcp_fast_open = true;
	assert_int_equal(
		setsockopt(p.s.listener, IPPROTO_TCP, TCP_FASTOPEN, &backlog, sizeof(backlog)), 0);
	for (int round = 0; round < 4; round++) {
		assert_int_equal(scene_start(&p.s, &name), 0);
		if (round == 2) /* connect() knew a cookie that is gone */
			assert_int_equal(system("ip tcp_metrics flush all"), 0);
		(void)way_made(&p);
		sends(&p, &nobody, "one", 3);
		(void)send_to(&p, &nobody, "two", 3);
		assert_true(proxy_accept(&p.s));
		assert_int_equal(
			poll(&(struct pollfd){ .fd = p.s.proxy, .events = POLLIN }, 1, 1000), 1);
		assert_int_equal(recv(p.s.proxy, heard, sizeof(heard), 0), sizeof(heard));
		assert_memory_equal(heard, TO_NAME "\0\3one", sizeof(heard));
		had_data |= syn_had_data(p.s.proxy) << round;
		scene_over(&p.s, false);
	}
	assert_int_equal(had_data, 1 << 1 | 1 << 3); /* the first has asked for the cookie */
	packet_scene_deinit(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),         cmocka_unit_test(test_header_of_many),
		cmocka_unit_test(test_every_split),    cmocka_unit_test(test_address),
		cmocka_unit_test(test_over_socks5),    cmocka_unit_test(test_below_socks5),
		cmocka_unit_test(test_train_and_head), cmocka_unit_test(test_long_received),
		cmocka_unit_test(test_many_received),  cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_little_room),    cmocka_unit_test(test_ends),
		cmocka_unit_test(test_last_words),     cmocka_unit_test(test_cancel_at_every_turn),
		cmocka_unit_test(test_fast_open),
	};

	return enter_new_namespace() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIP;
}
