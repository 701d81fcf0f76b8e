/* Datagrams arrive complete, in order and once; an error is told once, and stops nothing. */
#include "datagram_kit.h"
#include <netinet/udp.h>

#define LONGEST 65507 /* of IPv4 */

static const char *const loopback[] = { "127.0.0.1", "::1" };
static struct datagram_batch *batch;
static uint8_t bytes[1 << 20];

static void test_order(void **state)
{
	struct datagram list[100] = { 0 };

	for (int i = 0; i < 100; i++)
		list[i] = (struct datagram){ .data = bytes + i, .len = (size_t)i * 7 };
	for (int family = 0; family < 2; family++) {
		int fds[2];
		struct datagram_sent sent;

		udp_pair(loopback[family], fds);
		sent = send_all(fds[0], list, 100);
		assert_sent(&sent, 100);
		assert_int_equal(sent.icmp, 0);
		assert_int_equal(assert_arrive(batch, fds[1], list, 100), 0);
		close_pair(fds);
	}
}

static void test_batch_is_full(void **state)
{
	struct datagram list[DATAGRAM_BATCH + 5] = { 0 };
	const struct datagram *got = NULL;
	int fds[2];

	udp_pair("127.0.0.1", fds);
	send_all(fds[0], list, DATAGRAM_BATCH + 5); /* of no bytes */
	assert_int_equal(datagram_receive(batch, fds[1], &got), DATAGRAM_BATCH);
	assert_int_equal(datagram_receive(batch, fds[1], &got), 5);
	for (int i = 0; i < 5; i++) {
		struct addr source = local_addr(fds[0]);

		assert_int_equal(got[i].len, 0);
		assert_int_equal(datagram_count(&got[i]), 1);
		assert_addr(&got[i].source, &source);
		assert_int_equal(got[i].destination.family, AF_UNSPEC);
	}
	assert_int_equal(datagram_receive(batch, fds[1], &got), -EAGAIN);
	close_pair(fds);
}

static void test_longest(void **state)
{
	const struct datagram list[] = {
		{ .data = bytes, .len = LONGEST },
		{ .data = bytes, .len = LONGEST + 1 },
		{ .data = bytes + 1, .len = LONGEST - 9, .head = bytes + 99, .head_len = 9 },
		{ .data = bytes + 1, .len = LONGEST - 9, .head = bytes + 99, .head_len = 10 },
		{ .head = bytes + 5, .head_len = 3 },
	};
	const struct datagram expected[] = { list[0], list[2], list[4] };
	struct datagram_sent sent;
	int fds[2];

	udp_pair("127.0.0.1", fds);
	sent = send_all(fds[0], list, 5);
	assert_int_equal(sent.sent, 3);
	assert_int_equal(sent.failed, 2);
	assert_int_equal(sent.err, -EMSGSIZE);
	assert_int_equal(sent.icmp, 0);
	assert_arrive(batch, fds[1], expected, 3);
	close_pair(fds);
}

static unsigned resident_pages(void)
{
	unsigned long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
	(void)fclose(file);
	return (unsigned)resident;
}

static void test_memory_is_touched_as_filled(void **state)
{
	struct datagram_batch *fresh = NULL;
	const struct datagram *got = NULL;
	unsigned before, small;
	struct datagram longest = { .data = bytes, .len = LONGEST };
	int fds[2];

	udp_pair("127.0.0.1", fds);
	(void)resident_pages();
	assert_int_equal(datagram_batch_new(&fresh), 0);
	before = resident_pages();
	for (int i = 0; i < DATAGRAM_BATCH; i++) {
		struct datagram one = { .data = bytes, .len = 1 };

		send_all(fds[0], &one, 1);
	}
	assert_int_equal(datagram_receive(fresh, fds[1], &got), DATAGRAM_BATCH);
	small = resident_pages() - before;
	send_all(fds[0], &longest, 1);
	assert_int_equal(datagram_receive(fresh, fds[1], &got), 1);
	print_message("pages: %u for %u of 1 byte\n", small, DATAGRAM_BATCH);
	assert_true(small < 2 * DATAGRAM_BATCH + 16);
	datagram_batch_free(fresh);
	datagram_batch_free(NULL);
	close_pair(fds);
}

static void test_nothing_there(void **state)
{
	const struct datagram *got = (void *)-1;
	struct datagram_sent sent;
	int fds[2];

	udp_pair("127.0.0.1", fds);
	assert_int_equal(datagram_receive(batch, fds[1], &got), -EAGAIN);
	assert_ptr_equal(got, (void *)-1);
	sent = send_all(fds[0], NULL, 0);
	assert_sent(&sent, 0);
	assert_int_equal(datagram_receive(batch, -1, &got), -EBADF);
	close_pair(fds);
}

/* No UDP datagram is so long; those of AF_UNIX may be. */
static void test_truncated(void **state)
{
	const struct datagram *got = NULL;
	struct datagram one = { .data = bytes, .len = DATAGRAM_MAX + 1 };
	struct datagram_sent sent;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
	sent = send_all(fds[0], &one, 1);
	assert_sent(&sent, 1);
	one.len = DATAGRAM_MAX;
	send_all(fds[0], &one, 1);
	assert_int_equal(datagram_receive(batch, fds[1], &got), 2);
	assert_true(got[0].truncated);
	assert_int_equal(got[0].len, DATAGRAM_MAX);
	assert_int_equal(got[0].source.family, AF_UNSPEC); /* not that of a datagram before */
	assert_memory_equal(got[0].data, bytes, DATAGRAM_MAX);
	assert_false(got[1].truncated);
	assert_int_equal(got[1].len, DATAGRAM_MAX);
	close_pair(fds);
}

/* Whatever is refused in between, the others go on. */
static void test_one_is_refused(void **state)
{
	struct addr any = address("127.0.0.1", 0), to;
	struct datagram list[50] = { 0 }, expected[50];
	int from = udp_socket(&any), fd = udp_socket(&any), count = 0;
	struct datagram_sent sent;

	to = local_addr(fd);
	for (int i = 0; i < 50; i++) {
		list[i] = (struct datagram){ .destination = to, .data = bytes + i, .len = 20 };
		if (i % 7 == 0)
			list[i].destination = address("255.255.255.255", 9); /* EACCES */
		else if (i % 5 == 0)
			list[i].destination.port = 0; /* EINVAL */
		else
			expected[count++] = list[i];
	}
	sent = send_all(from, list, 50);
	assert_int_equal(sent.sent, count);
	assert_int_equal(sent.failed, 50 - count);
	assert_int_equal(sent.err, -EACCES); /* 49 */
	assert_arrive(batch, fd, expected, (unsigned)count);
	close(from);
	close(fd);
}

/* IPv4 destinations of an IPv6 socket; sources are unwrapped. */
static void test_dual_stack(void **state)
{
	struct addr any4 = address("127.0.0.1", 0), any6 = address("::", 0), to[2], source;
	struct datagram list[2], reply;
	int fd4 = udp_socket(&any4), fd6, from;
	struct datagram_sent sent;

	any6.family = AF_INET6;
	fd6 = udp_socket(&any6);
	from = udp_socket(&any6);
	to[0] = local_addr(fd4);
	to[1] = address("::1", local_addr(fd6).port);
	for (int i = 0; i < 2; i++)
		list[i] = (struct datagram){ .destination = to[i], .data = bytes, .len = 100 };
	sent = send_all(from, list, 2);
	assert_sent(&sent, 2);
	assert_arrive(batch, fd6, &list[1], 1);
	source = receive_one(batch, fd4)->source;
	to[0] = address("127.0.0.1", local_addr(from).port);
	assert_addr(&source, &to[0]);
	reply = (struct datagram){ .destination = source, .data = bytes, .len = 5 };
	sent = send_all(fd4, &reply, 1);
	assert_sent(&sent, 1);
	to[0] = local_addr(fd4);
	assert_addr(&receive_one(batch, from)->source, &to[0]);
	close(fd4);
	close(fd6);
	close(from);
}

/* ICMP on a connected socket: receive tells it, before what waits; then it is over. */
static void test_icmp_at_receive(void **state)
{
	for (int family = 0; family < 2; family++) {
		struct datagram one = { .data = bytes, .len = 10 };
		const struct datagram *got;
		struct datagram_sent sent;
		struct addr peer;
		int fds[2];

		udp_pair(loopback[family], fds);
		send_all(fds[1], &one, 1);
		peer = local_addr(fds[1]);
		close(fds[1]);
		sent = send_all(fds[0], &one, 1);
		assert_sent(&sent, 1);
		assert_int_equal(sent.icmp, 0);
		assert_int_equal(datagram_receive(batch, fds[0], &got), -ECONNREFUSED);
		assert_addr(&receive_one(batch, fds[0])->source, &peer);
		assert_int_equal(datagram_receive(batch, fds[0], &got), -EAGAIN);
		close(fds[0]);
	}
}

/* Send comes first: it tells it, and the datagram goes all the same. */
static void test_icmp_at_send(void **state)
{
	for (int family = 0; family < 2; family++) {
		struct datagram list[] = { { .data = bytes, .len = 10 },
					   { .data = bytes + 10, .len = 20 } };
		const struct datagram *got;
		struct datagram_sent sent;
		struct addr peer;
		int fds[2];

		udp_pair(loopback[family], fds);
		peer = local_addr(fds[1]);
		close(fds[1]);
		sent = send_all(fds[0], list, 1);
		assert_sent(&sent, 1);
		fds[1] = udp_socket(&peer); /* now there is somebody */
		sent = send_all(fds[0], list, 2);
		assert_sent(&sent, 2);
		assert_int_equal(sent.icmp, -ECONNREFUSED);
		assert_arrive(batch, fds[1], list, 2);
		assert_int_equal(datagram_receive(batch, fds[0], &got), -EAGAIN);
		sent = send_all(fds[0], list, 2);
		assert_sent(&sent, 2);
		assert_int_equal(sent.icmp, 0);
		close_pair(fds);
	}
}

/* Nobody is there, and each datagram but the first finds the error of the one before. */
static void test_refused_all_along(void **state)
{
	struct datagram list[40];
	struct datagram_sent sent;
	const struct datagram *got;
	int fds[2], r;

	for (int i = 0; i < 40; i++)
		list[i] = (struct datagram){ .data = bytes, .len = 10 };
	udp_pair("127.0.0.1", fds);
	close(fds[1]);
	sent = send_all(fds[0], list, 40);
	assert_sent(&sent, 40);
	r = datagram_receive(batch, fds[0], &got);
	assert_true(r == -ECONNREFUSED || r == -EAGAIN); /* ICMP is limited by rate */
	assert_int_equal(datagram_receive(batch, fds[0], &got), -EAGAIN);
	close(fds[0]);
}

/* The queue to send is full: lost, counted, and no waiting. */
static void test_queue_is_full(void **state)
{
	struct addr to = address("192.0.2.2", 9), any = address("192.0.2.1", 0);
	struct datagram list[40];
	struct datagram_sent sent;
	int fd;

	/* A device that holds what it has to send: a byte a second. */
	if (system("ip link add hold type veth peer name other && ip link set other up && "
		   "ip addr add 192.0.2.1/24 dev hold && ip link set hold up && "
		   "ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev hold && "
		   "tc qdisc add dev hold root tbf rate 8bit burst 1500 limit 1000000"))
		skip();
	fd = udp_socket(&any);
	assert_int_equal(sock_set_send_buffer(fd, 16384), 0);
	for (int i = 0; i < 40; i++)
		list[i] = (struct datagram){ .destination = to, .data = bytes, .len = 1000 };
	sent = send_all(fd, list, 40);
	print_message("sent %u, failed %u\n", sent.sent, sent.failed);
	assert_in_range(sent.sent, 3, 16);
	assert_int_equal(sent.sent + sent.failed, 40);
	assert_int_equal(sent.err, -EAGAIN);
	list[0].segment = 100;
	sent = send_all(fd, list, 1);
	assert_int_equal(sent.sent, 0);
	assert_int_equal(sent.failed, 10);
	assert_int_equal(sent.err, -EAGAIN);
	close(fd);
	assert_int_equal(system("ip link del hold"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_batch_is_full),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_memory_is_touched_as_filled),
		cmocka_unit_test(test_nothing_there),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_one_is_refused),
		cmocka_unit_test(test_dual_stack),
		cmocka_unit_test(test_icmp_at_receive),
		cmocka_unit_test(test_icmp_at_send),
		cmocka_unit_test(test_refused_all_along),
		cmocka_unit_test(test_queue_is_full),
	};
	int failed;

	if (!enter_new_namespace() || datagram_batch_new(&batch)) {
		(void)fprintf(stderr, "skipped: no network namespace of its own\n");
		return SKIP;
	}
	set_bytes(bytes, sizeof(bytes), 1);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	datagram_batch_free(batch);
	return failed;
}
