/* Answers leave from an address and port that a service of this host keeps to itself, as a client expects them,
 * and the service misses nothing. */
#include "router.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include "net/checksum.h"
#include "net/udp_raw.h"

#define FROMS 4

static struct datagram_batch *batch;
static uint8_t bytes[100000];
static struct addr froms[FROMS]; /* two are ours, two are not */

static int raw_socket(const struct addr *from)
{
	int fd = -1;

	assert_int_equal(udp_raw_open(from, 0, &fd), 0);
	return fd;
}

static struct datagram_sent send_raw(int fd, const struct addr *from, const struct datagram *list,
				     unsigned count)
{
	struct datagram_sent sent;

	memset(&sent, 0xff, sizeof(sent));
	udp_raw_send(fd, from, list, count, &sent);
	return sent;
}

/* All of @list, whose destination is set here, come to a client that hears nobody but @from. */
static void comes(const struct addr *from, struct datagram *list, unsigned count)
{
	int client = client_socket(from->family, from), fd = raw_socket(from);
	struct addr to = local_addr(client);
	struct datagram_sent sent;
	unsigned datagrams = 0;

	for (unsigned i = 0; i < count; i++) {
		list[i].destination = to;
		datagrams += datagram_count(&list[i]);
	}
	sent = send_raw(fd, from, list, count);
	assert_sent(&sent, datagrams);
	assert_int_equal(sent.icmp, 0);
	assert_arrive(batch, client, list, count);
	close(client);
	close(fd);
}

static void test_arrives(void **state)
{
	for (int i = 0; i < FROMS; i++) {
		struct datagram list[] = { { .data = bytes, .len = 10 },
					   { .data = NULL, .len = 0 },
					   { .data = bytes + 1, .len = 65507 },
					   { .data = bytes + 2, .len = 40001, .segment = 1400 },
					   { .data = bytes + 3, .len = 65487 },
					   { .data = bytes + 5, .len = 20001, .segment = 2000 },
					   { .data = bytes + 7, .len = 64, .segment = 1 },
					   { .data = bytes + 9, .len = 1400, .segment = 1400 } };

		comes(&froms[i], list, 8);
	}
}

/* Each length up to more than a frame, most of which take many calls. */
static void test_lengths(void **state)
{
	static struct datagram list[1600];

	for (int i = 0; i < FROMS; i++) {
		for (unsigned len = 0; len < 1600; len++)
			list[len] = (struct datagram){ .data = bytes + len * 7, .len = len };
		comes(&froms[i], list, 1600);
	}
}

/* The checksum of a datagram of which the last two bytes make it 0. */
static uint16_t make_zero(const struct addr *from, const struct addr *to, uint8_t *data, size_t len)
{
	uint16_t sum;

	memset(data + len - 2, 0, 2);
	sum = udp_header(from, to, data, len).uh_sum;
	memcpy(data + len - 2, &sum, 2);
	return udp_header(from, to, data, len).uh_sum;
}

/* 0 is "none" of IPv4, and refused by IPv6. */
static void test_never_zero(void **state)
{
	for (int i = 0; i < FROMS; i++) {
		uint8_t data[20] = "twenty bytes of data", got[100];
		size_t header = froms[i].family == AF_INET ? 20 : 0; /* of IP, which it has */
		int client = client_socket(froms[i].family, &froms[i]), fd = raw_socket(&froms[i]);
		struct addr to = local_addr(client);
		struct datagram one = { .destination = to, .data = data, .len = sizeof(data) };
		struct udphdr udp;
		int sniffer;

		enter(client_fd);
		sniffer = socket(to.family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
		enter(router_fd);
		assert_true(sniffer >= 0);
		assert_int_equal(make_zero(&froms[i], &to, data, sizeof(data)), 0xffff);
		send_raw(fd, &froms[i], &one, 1);
		assert_arrive(batch, client, &one, 1);
		assert_int_equal(recv(sniffer, got, sizeof(got), MSG_DONTWAIT),
				 header + sizeof(udp) + sizeof(data));
		memcpy(&udp, got + header, sizeof(udp));
		assert_int_equal(udp.uh_sum, 0xffff);
		assert_int_equal(ntohs(udp.uh_sport), froms[i].port);
		assert_int_equal(ntohs(udp.uh_ulen), sizeof(udp) + sizeof(data));
		close(sniffer);
		close(client);
		close(fd);
	}
}

/* What is too long is refused, what comes before and after it goes. */
static void test_refused(void **state)
{
	static const size_t longest[] = { 65507, 65527 };

	for (int i = 0; i < FROMS; i++) {
		size_t most = longest[froms[i].family == AF_INET6];
		int client = client_socket(froms[i].family, &froms[i]), fd = raw_socket(&froms[i]);
		struct addr to = local_addr(client);
		struct datagram list[] = { { .destination = to, .data = bytes, .len = most },
					   { .destination = to, .data = bytes, .len = most + 1 },
					   { .destination = to, .data = bytes, .len = 100000 },
					   { .destination = to, .data = bytes + 1, .len = 7 } };
		struct datagram expected[] = { list[0], list[3] };
		struct datagram_sent sent = send_raw(fd, &froms[i], list, 4);

		assert_int_equal(sent.sent, 2);
		assert_int_equal(sent.failed, 2);
		assert_int_equal(sent.err, -EMSGSIZE);
		assert_arrive(batch, client, expected, 2);
		close(client);
		close(fd);
	}
}

/* Fragmented, and never with DF, which the client does not let in. */
static void test_narrow_path(void **state)
{
	assert_int_equal(system("ip route add " CLIENT4 " dev lan mtu 600"), 0);
	assert_int_equal(system("ip -6 route add " CLIENT6 " dev lan mtu 1280"), 0);
	assert_true(run_in_client("nft 'table ip df { chain in { type filter hook prerouting "
				  "priority raw; ip frag-off & 0x4000 != 0 drop; }; }'"));
	for (int i = 0; i < FROMS; i++) {
		struct datagram list[] = { { .data = bytes, .len = 10 },
					   { .data = bytes, .len = 1300 },
					   { .data = bytes, .len = 65507 },
					   { .data = bytes, .len = 12001, .segment = 1300 } };

		comes(&froms[i], list, 4);
	}
	assert_true(run_in_client("nft delete table ip df"));
	assert_int_equal(system("ip route del " CLIENT4 " dev lan mtu 600"), 0);
	assert_int_equal(system("ip -6 route del " CLIENT6 " dev lan mtu 1280"), 0);
}

/* A service keeps address and port to itself, and gets each datagram, while answers leave from there. */
static void test_service(void **state)
{
	for (int i = 0; i < 2; i++) {
		int service = udp_socket(&froms[i]);
		int stranger = client_socket(froms[i].family, &froms[i]);
		int client = client_socket(froms[i].family, &froms[i]), fd = raw_socket(&froms[i]);
		struct addr to = local_addr(client), from = local_addr(stranger);

		for (unsigned n = 0; n < 500; n++) {
			struct datagram question = { .data = bytes + n, .len = n };
			struct datagram answer = { .destination = to,
						   .data = bytes + n + 1,
						   .len = 500 - n };
			int other = raw_socket(&froms[i]);

			send_all(stranger, &question, 1);
			assert_addr(&receive_one(batch, service)->source, &from);
			send_raw(n % 2 ? fd : other, &froms[i], &answer, 1);
			send_all(client, &question, 1);
			assert_addr(&receive_one(batch, service)->source, &to);
			assert_arrive(batch, client, &answer, 1);
			assert_int_equal(recv(other, (char[1]){ 0 }, 1, 0), -1);
			assert_int_equal(errno, EAGAIN);
			close(other);
		}
		assert_int_equal(recv(fd, (char[1]){ 0 }, 1, 0), -1);
		assert_int_equal(errno, EAGAIN);
		close(service);
		close(stranger);
		close(client);
		close(fd);
	}
}

static atomic_bool stop;

static void *flood(void *arg)
{
	const struct addr *to = arg;
	struct datagram one = { .destination = *to, .data = bytes, .len = 10 };
	struct datagram_sent sent;
	int fd = socket(to->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	while (!stop)
		datagram_send(fd, &one, 1, &sent);
	close(fd);
	return NULL;
}

/* A raw socket hears all from its first moment, before it can be told not to. */
static void test_nothing_queued(void **state)
{
	for (int i = 0; i < 2; i++) {
		int service = udp_socket(&froms[i]);
		pthread_t thread;

		stop = false;
		assert_int_equal(pthread_create(&thread, NULL, flood, &froms[i]), 0);
		for (unsigned n = 0; n < 2000; n++) {
			int fd = raw_socket(&froms[i]);

			assert_int_equal(recv(fd, (char[1]){ 0 }, 1, 0), -1);
			assert_int_equal(errno, EAGAIN);
			close(fd);
		}
		stop = true;
		assert_int_equal(pthread_join(thread, NULL), 0);
		close(service);
	}
}

/* The client's port is closed, which it tells. */
static void test_client_is_gone(void **state)
{
	for (int i = 0; i < FROMS; i++) {
		int client = client_socket(froms[i].family, &froms[i]), fd = raw_socket(&froms[i]);
		struct addr to = local_addr(client);
		struct datagram one = { .destination = to, .data = bytes, .len = 10 };

		close(client);
		for (int n = 0; n < 5; n++) {
			struct datagram_sent sent = send_raw(fd, &froms[i], &one, 1);

			assert_sent(&sent, 1);
			usleep(1000);
		}
		assert_int_equal(sock_error(fd), 0);
		close(fd);
	}
}

static void test_options(void **state)
{
	for (int i = 0; i < FROMS; i++) {
		bool v4 = froms[i].family == AF_INET;
		int fd, level = v4 ? IPPROTO_IP : IPPROTO_IPV6;

		assert_int_equal(udp_raw_open(&froms[i], 4711, &fd), 0);
		assert_int_equal(sock_mark(fd), 4711);
		assert_true(sock_is_transparent(fd, froms[i].family));
		assert_int_equal(get_option(fd, level, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER),
				 v4 ? IP_PMTUDISC_DONT : IPV6_PMTUDISC_DONT);
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		close(fd);
	}
}

static void *open_without_privileges(void *arg)
{
	int *fd = arg;

	/* The bare system call is of this thread only. */
	return (void *)(intptr_t)(syscall(SYS_setresuid, 65534, 65534, 65534)
					  ? 1
					  : udp_raw_open(&froms[0], 0, fd));
}

static void test_no_privileges(void **state)
{
	pthread_t thread;
	int fd = -2;
	void *r;

	assert_int_equal(pthread_create(&thread, NULL, open_without_privileges, &fd), 0);
	assert_int_equal(pthread_join(thread, &r), 0);
	assert_int_equal((int)(intptr_t)r, -EPERM);
	assert_int_equal(fd, -2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arrives),        cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_never_zero),     cmocka_unit_test(test_refused),
		cmocka_unit_test(test_narrow_path),    cmocka_unit_test(test_service),
		cmocka_unit_test(test_nothing_queued), cmocka_unit_test(test_client_is_gone),
		cmocka_unit_test(test_options),        cmocka_unit_test(test_no_privileges),
	};
	unsigned fds;
	int failed;

	if (!make_router() || datagram_batch_new(&batch)) {
		(void)fprintf(stderr, "skipped: no namespaces, or no TPROXY of nftables\n");
		return SKIP;
	}
	froms[0] = address("192.0.2.1", 5353);
	froms[1] = address("2001:db8:1::1", 5353);
	froms[2] = address("203.0.113.7", 5353);
	froms[3] = address("2001:db8:ffff::7", 5353);
	set_bytes(bytes, sizeof(bytes), 5);
	fds = open_fds();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (!failed && open_fds() != fds) {
		(void)fprintf(stderr, "%u descriptors before, %u after\n", fds, open_fds());
		failed = 1;
	}
	datagram_batch_free(batch);
	return failed;
}
