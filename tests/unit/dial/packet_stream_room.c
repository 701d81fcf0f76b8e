/* A stream that has no room, or that is not yet one (fast open): datagrams are lost whole, or not at all. */
#include <netinet/tcp.h>
#include "packet_stream.h"

#define READ_MAX (4 << 20)

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

/* In this namespace, that a few datagrams fill. */
static void small_queues(void)
{
	if (system("sysctl -qw net.ipv4.tcp_wmem='4096 65536 131072' "
		   "net.ipv4.tcp_rmem='4096 131072 131072'"))
		skip();
}

/* Nobody reads; then everything that counts as sent is there, and nothing in part. */
static void test_no_room(void **state)
{
	struct heard *heard = calloc(1, sizeof(*heard));
	unsigned number = 0, sent = 0, full = 0;
	struct packet_scene p;
	size_t skip = sizeof(TO_NAME) - 1, bytes = skip;

	assert_non_null(heard);
	small_queues();
	begin(&p, &name);
	for (; full < 20; number += 3) {
		unsigned n = send_three(&p, number, &bytes);

		assert_true(number < 10000);
		sent += n;
		full += n < 3;
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
	small_queues();
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
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_little_room),
		cmocka_unit_test(test_fast_open),
	};

	return enter_new_namespace() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIP;
}
