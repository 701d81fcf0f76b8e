/* Trains, both ways: the same bytes in the same datagrams, whatever the kernel makes of them. */
#include "datagram_kit.h"
#include <netinet/udp.h>

static const char *const loopback[] = { "127.0.0.1", "::1" };
static struct datagram_batch *batch;
static uint8_t bytes[1 << 20];

/* @list from one end to the other; returns how many trains came. */
static unsigned through(const int fds[2], const struct datagram *list, unsigned count)
{
	struct datagram_sent sent = send_all(fds[0], list, count);
	unsigned datagrams = 0;

	for (unsigned i = 0; i < count; i++)
		datagrams += datagram_count(&list[i]);
	assert_sent(&sent, datagrams);
	return assert_arrive(batch, fds[1], list, count);
}

static void test_stays_a_train(void **state)
{
	static const struct {
		unsigned len;
		uint16_t segment;
		unsigned trains; /* that it has to be cut into for the kernel */
	} cases[] = {
		{ 1200 * 10, 1200, 1 },   { 1200 * 10 - 1, 1200, 1 }, { 1200 + 1, 1200, 1 },
		{ 1200, 1200, 0 },        { 1199, 1200, 0 },          { 64, 1, 1 },
		{ 1200 * 54, 1200, 1 },   { 1200 * 55, 1200, 1 },     { 1200 * 54 + 707, 1200, 1 },
		{ 1200 * 56, 1200, 2 },   { 100 * 128, 100, 2 },      { 100 * 128 + 1, 100, 2 },
		{ 1400 * 700, 1400, 16 }, { 60000, 30000, 1 },
	};

	for (int family = 0; family < 2; family++)
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct datagram one = { .data = bytes + i,
						.len = cases[i].len,
						.segment = cases[i].segment };
			int fds[2];

			udp_pair(loopback[family], fds);
			assert_int_equal(through(fds, &one, 1), 0); /* who did not ask for GRO */
			assert_int_equal(datagram_set_gro(fds[1]), 0);
			assert_int_equal(through(fds, &one, 1), cases[i].trains);
			close_pair(fds);
		}
}

/* What was received goes on as it is. */
static void test_forward(void **state)
{
	const struct datagram list[] = { { .data = bytes, .len = 30000, .segment = 1300 },
					 { .data = bytes + 3, .len = 7 },
					 { .data = bytes + 5, .len = 0 },
					 { .data = bytes + 9, .len = 4001, .segment = 1000 } };
	int in[2], out[2], received;
	const struct datagram *got = NULL;
	struct datagram_sent sent;

	udp_pair("127.0.0.1", in);
	udp_pair("::1", out);
	datagram_set_gro(in[1]);
	datagram_set_gro(out[1]);
	sent = send_all(in[0], list, 4);
	received = receive(batch, in[1], &got);
	assert_int_equal(received, 4);
	sent = send_all(out[0], got, 4);
	assert_sent(&sent, 24 + 1 + 1 + 5);
	assert_int_equal(assert_arrive(batch, out[1], list, 4), 2);
	close_pair(in);
	close_pair(out);
}

/* A socket that does without checksums cannot have GSO (EINVAL). */
static void test_no_checksums(void **state)
{
	const struct datagram list[] = { { .data = bytes, .len = 100 },
					 { .data = bytes, .len = 100001, .segment = 1000 },
					 { .data = bytes, .len = 3 } };
	static const int one = 1;
	int fds[2];

	udp_pair("127.0.0.1", fds);
	datagram_set_gro(fds[1]);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_NO_CHECK, &one, sizeof(one)), 0);
	assert_int_equal(through(fds, list, 3), 0);
	close_pair(fds);
}

/* Segments that are longer than the MTU have to be fragmented each, or refused each where that is forbidden. */
static void test_mtu(void **state)
{
	const struct datagram list[] = { { .data = bytes, .len = 100 },
					 { .data = bytes, .len = 20001, .segment = 2000 },
					 { .data = bytes, .len = 5000, .segment = 1000 } };

	assert_int_equal(system("ip link set lo mtu 1500"), 0);
	for (int family = 0; family < 2; family++) {
		struct datagram expected[] = { list[0],
					       { .data = bytes + 20000, .len = 1 },
					       list[2] };
		struct datagram_sent sent;
		int fds[2];

		udp_pair(loopback[family], fds);
		datagram_set_gro(fds[1]);
		assert_int_equal(through(fds, list, 3), 1);
		assert_int_equal(sock_set_dont_fragment(fds[0], family ? AF_INET6 : AF_INET), 0);
		sent = send_all(fds[0], list, 3);
		assert_int_equal(sent.failed, 10);
		assert_int_equal(sent.sent, 1 + 1 + 5);
		assert_int_equal(sent.err, -EMSGSIZE);
		assert_int_equal(assert_arrive(batch, fds[1], expected, 3), 1);
		close_pair(fds);
	}
	assert_int_equal(system("ip link set lo mtu 65536"), 0);
}

static uint32_t random_below(uint32_t *state, uint32_t limit)
{
	*state = *state * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(*state) * limit >> 32);
}

static size_t random_len(uint32_t *seed)
{
	static const uint32_t limits[] = { 1, 2, 100, 1500, 9000, 65000 };

	return random_below(seed, limits[random_below(seed, 6)]);
}

static struct datagram random_datagram(uint32_t *seed)
{
	struct datagram one = { .data = bytes + random_below(seed, 1000), .len = random_len(seed) };

	switch (random_below(seed, 3)) {
	case 0:
		one.segment = (uint16_t)(1 + random_below(seed, 1452));
		one.len = random_below(seed, 150) * one.segment + random_below(seed, one.segment);
		break;
	case 1:
		one.head = bytes + random_below(seed, 5000);
		one.head_len = random_below(seed, 300);
		break;
	default:
		break;
	}
	return one;
}

/* Any list arrives complete, in order and with its boundaries. */
static void test_random(void **state)
{
	uint32_t seed = 20;
	unsigned trains = 0, datagrams = 0;

	for (int round = 0; round < 300; round++) {
		struct datagram list[80] = { 0 };
		unsigned count = 1 + random_below(&seed, 80);
		int fds[2];

		udp_pair(loopback[round % 2], fds);
		if (round % 3)
			datagram_set_gro(fds[1]);
		for (unsigned i = 0; i < count; i++) {
			list[i] = random_datagram(&seed);
			datagrams += datagram_count(&list[i]);
		}
		trains += through(fds, list, count);
		close_pair(fds);
	}
	print_message("%u datagrams, %u trains\n", datagrams, trains);
	assert_true(trains > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stays_a_train), cmocka_unit_test(test_forward),
		cmocka_unit_test(test_no_checksums),  cmocka_unit_test(test_mtu),
		cmocka_unit_test(test_random),
	};
	int failed;

	if (!enter_new_namespace() || datagram_batch_new(&batch)) {
		(void)fprintf(stderr, "skipped: no network namespace of its own\n");
		return SKIP;
	}
	set_bytes(bytes, sizeof(bytes), 2);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	datagram_batch_free(batch);
	return failed;
}
