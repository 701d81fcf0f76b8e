/* Answers that come from addresses which are not ours, and what the client sends after them. */
#include "router.h"
#include <netinet/udp.h>
#include "net/tproxy.h"

static struct datagram_batch *batch;
static uint8_t bytes[100000];
static struct addr servers[2];

static int reply_socket(const struct addr *from)
{
	const char *call = "";
	int fd = -1;

	assert_int_equal(tproxy_reply_socket(from->family, from->port, 0, &fd, &call), 0);
	return fd;
}

/* @count datagrams or trains by @fd come to @client, from @server; their addresses are set here. */
static void comes(int fd, struct datagram *list, unsigned count, int client,
		  const struct addr *server)
{
	const struct addr to = local_addr(client);
	unsigned datagrams = 0;
	struct datagram_sent sent;
	const struct datagram *got;

	for (unsigned i = 0; i < count; i++) {
		list[i].source = *server;
		list[i].destination = to;
		datagrams += datagram_count(&list[i]);
	}
	sent = send_all(fd, list, count);
	assert_sent(&sent, datagrams);
	assert_arrive(batch, client, list, count);
	sent = send_all(fd, list, 1);
	(void)receive(batch, client, &got);
	assert_addr(&got->source, server);
}

/* @from is who the client talks to: anything else would not come through its connected socket. */
static void test_from_foreign(void **state)
{
	for (int i = 0; i < 2; i++) {
		int client = client_socket(servers[i].family, &servers[i]);
		int fd = reply_socket(&servers[i]);
		struct datagram list[] = { { .data = bytes, .len = 10 },
					   { .data = bytes, .len = 0 },
					   { .data = bytes + 1, .len = 65507 },
					   { .data = bytes + 2, .len = 40001, .segment = 1400 },
					   { .data = bytes + 3, .len = 20001, .segment = 2000 } };

		comes(fd, list, 5, client, &servers[i]);
		close(client);
		close(fd);
	}
}

/* One socket speaks as everybody with that port, ours among them, in one call, in trains and not. */
static void test_from_many(void **state)
{
	static const char *const froms[2][3] = { { "203.0.113.7", "203.0.113.8", "198.51.100.1" },
						 { "2001:db8:ffff::7", "2001:db8:ffff::8",
						   "2001:db8:1::1" } };

	for (int i = 0; i < 2; i++) {
		int clients[3], fd = reply_socket(&servers[i]);
		struct datagram list[30];
		struct datagram_sent sent;

		for (int n = 0; n < 3; n++) {
			struct addr from = address(froms[i][n], servers[i].port);

			clients[n] = client_socket(from.family, &from);
			for (int k = n; k < 30; k += 3)
				list[k] = (struct datagram){ .source = from,
							     .destination = local_addr(clients[n]),
							     .data = bytes + n,
							     .len = 3000,
							     .segment = k % 2 ? 0 : 1000 };
		}
		sent = send_all(fd, list, 30);
		assert_sent(&sent, 15 + 15 * 3);
		for (int n = 0; n < 3; n++) {
			struct datagram expected[10];

			for (int k = 0; k < 10; k++)
				expected[k] = list[n + 3 * k];
			assert_arrive(batch, clients[n], expected, 10);
			close(clients[n]);
		}
		close(fd);
	}
}

/* A link-local source leaves by the interface that is its scope; a link-local client is answered by anybody. */
static void test_link_local(void **state)
{
	uint32_t lan = if_nametoindex("lan"), eth;
	struct addr froms[] = { address("fe80::7", 5353), servers[1] };
	struct addr to = address("fe80::2", 0);
	int fd = reply_socket(&servers[1]), client;
	struct datagram one;
	struct pollfd ready;
	struct datagram_sent sent;

	assert_true(run_in_client("ip addr add fe80::2/64 dev eth nodad"));
	assert_int_equal(system("ip addr add fe80::1/64 dev lan nodad"), 0);
	enter(client_fd);
	eth = if_nametoindex("eth");
	to.scope = eth;
	client = udp_socket(&to);
	enter(router_fd);
	to = local_addr(client);
	to.scope = lan;
	ready = (struct pollfd){ .fd = client, .events = POLLIN };
	for (int i = 0; i < 2; i++) {
		struct addr expected = froms[i];

		one = (struct datagram){ .source = froms[i], .destination = to, .data = bytes };
		expected.scope = i ? 0 : eth;
		one.source.scope = i ? 0 : lan;
		sent = send_all(fd, &one, 1);
		assert_sent(&sent, 1);
		(void)poll(&ready, 1,
			   5000); /* a question for the neighbour is repeated after one */
		assert_addr(&receive_one(batch, client)->source, &expected);
	}
	one.source = froms[0];
	one.source.scope = lan + 1000;
	sent = send_all(fd, &one, 1); /* not where the client is */
	assert_int_equal(sent.err, -EINVAL);
	one.source.scope = 0;
	one.destination = address(CLIENT6, 9);
	sent = send_all(fd, &one, 1); /* by no interface */
	assert_int_equal(sent.err, -EINVAL);
	close(client);
	close(fd);
}

/* A source that no datagram can have is refused, and holds up nothing. */
static void test_refused_sources(void **state)
{
	struct addr from[] = { servers[0], address("224.0.0.1", 5353), servers[0] };
	int client = client_socket(AF_INET, &servers[0]), fd = reply_socket(&servers[0]);
	struct datagram list[3], expected[2];
	struct datagram_sent sent;

	for (int i = 0; i < 3; i++)
		list[i] = (struct datagram){ .source = from[i],
					     .destination = local_addr(client),
					     .data = bytes + i,
					     .len = 2000,
					     .segment = 1000 };
	expected[0] = list[0];
	expected[1] = list[2];
	sent = send_all(fd, list, 3);
	assert_int_equal(sent.sent, 4);
	assert_int_equal(sent.failed, 2);
	assert_int_equal(sent.err, -EINVAL);
	assert_arrive(batch, client, expected, 2);
	close(client);
	close(fd);
}

/* What the client sends next, to the same server or to others, goes to the listener; so does what it sends to where
 * the socket is bound. */
static void test_next_datagrams(void **state)
{
	struct addr any = address("::", PORT);
	const struct datagram *got;
	const char *call;
	int listener;

	assert_int_equal(tproxy_listen_udp(&any, &listener, &call), 0);
	for (int i = 0; i < 2; i++) {
		int client = client_socket(servers[i].family, NULL);
		struct addr to = local_addr(client), elsewhere = servers[i];
		struct datagram one = { .destination = servers[i], .data = bytes, .len = 10 };
		int fd = reply_socket(&servers[i]);

		send_all(client, &one, 1);
		assert_addr(&receive_one(batch, listener)->source, &to);
		elsewhere.port++;
		one.destination = elsewhere;
		send_all(client, &one, 1);
		assert_addr(&receive_one(batch, listener)->destination, &elsewhere);
		elsewhere = one.destination = local_addr(fd);
		send_all(client, &one, 1);
		assert_addr(&receive_one(batch, listener)->destination, &elsewhere);
		assert_int_equal(datagram_receive(batch, fd, &got), -EAGAIN);
		close(client);
		close(fd);
	}
	close(listener);
}

/* As after the interface became narrower, or a path was found to be: fragmented, and never with DF, which the
 * client does not let in. */
static void test_fragmented(void **state)
{
	assert_int_equal(system("ip route add " CLIENT4 " dev lan mtu 600"), 0);
	assert_int_equal(system("ip -6 route add " CLIENT6 " dev lan mtu 1280"), 0);
	assert_true(run_in_client("nft 'table ip df { chain in { type filter hook prerouting "
				  "priority raw; ip frag-off & 0x4000 != 0 drop; }; }'"));
	for (int i = 0; i < 2; i++) {
		int client = client_socket(servers[i].family, &servers[i]);
		int fd = reply_socket(&servers[i]);
		struct datagram list[] = { { .data = bytes, .len = 10 },
					   { .data = bytes, .len = 1300 },
					   { .data = bytes, .len = 65507 },
					   { .data = bytes, .len = 12001, .segment = 1300 } };

		comes(fd, list, 4, client, &servers[i]);
		close(client);
		close(fd);
	}
	assert_true(run_in_client("nft delete table ip df"));
	assert_int_equal(system("ip route del " CLIENT4 " dev lan mtu 600"), 0);
	assert_int_equal(system("ip -6 route del " CLIENT6 " dev lan mtu 1280"), 0);
}

/* A device that has no checksums, nor anything else, done for it. */
static void test_plain_device(void **state)
{
	int client = client_socket(AF_INET, &servers[0]);
	int fd = reply_socket(&servers[0]);
	struct datagram list[] = { { .data = bytes, .len = 40001, .segment = 1400 } };

	if (system("ethtool -K lan tx off >/dev/null 2>&1"))
		skip();
	comes(fd, list, 1, client, &servers[0]);
	assert_int_equal(system("ethtool -K lan tx on >/dev/null"), 0);
	close(client);
	close(fd);
}

/* Of the same port, as each worker has its own. */
static void test_many(void **state)
{
	int client = client_socket(AF_INET, &servers[0]), fds[10];

	for (int i = 0; i < 10; i++)
		fds[i] = reply_socket(&servers[0]);
	for (int i = 0; i < 10; i++) {
		struct datagram one = { .data = bytes + i, .len = 10 };

		comes(fds[i], &one, 1, client, &servers[0]);
	}
	for (int i = 0; i < 10; i++)
		close(fds[i]);
	close(client);
}

static void test_options(void **state)
{
	const char *call;
	int fd;

	assert_int_equal(tproxy_reply_socket(AF_INET, 5353, 4711, &fd, &call), 0);
	assert_int_equal(sock_mark(fd), 4711);
	assert_int_equal(get_option(fd, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DONT);
	assert_in_range(get_option(fd, SOL_SOCKET, SO_RCVBUF), 1, 4096);
	assert_true(get_option(fd, SOL_SOCKET, SO_SNDBUF) >= 32 << 20);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

/* By a service that keeps the port to itself on all addresses, not by one that has an address of ours. */
static void test_refused(void **state)
{
	static const char *const texts[2][2] = { { "0.0.0.0", "198.51.100.1" },
						 { "::", "2001:db8:1::1" } };

	for (int i = 0; i < 2; i++) {
		struct addr any = address(texts[i][0], 5353), ours = address(texts[i][1], 5353);
		int service = udp_socket(&any), fd = -2;
		const char *call = "";

		assert_int_equal(tproxy_reply_socket(any.family, 5353, 0, &fd, &call), -EADDRINUSE);
		assert_string_equal(call, "bind");
		assert_int_equal(fd, -2);
		close(service);
		service = udp_socket(&ours);
		close(reply_socket(&ours));
		close(service);
	}
}

/* A service starts while we have its port: at an address of ours, and shared on all. */
static void test_service_starts(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct addr ours = address(i ? "2001:db8:1::1" : "198.51.100.1", 5353);
		struct addr any = address(i ? "::" : "0.0.0.0", 5353);
		int fd = reply_socket(&ours), service = udp_socket(&ours), shared;
		struct sockaddr_storage sa;
		socklen_t len = addr_to_sockaddr(&any, &sa);

		close(service);
		shared = socket(any.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_int_equal(sock_set_reuse(shared), 0);
		assert_int_equal(bind(shared, (struct sockaddr *)&sa, len), 0);
		close(shared);
		close(fd);
	}
}

/* The client's port is closed, which it tells; others have answers by the same socket. */
static void test_client_is_gone(void **state)
{
	for (int i = 0; i < 2; i++) {
		int client = client_socket(servers[i].family, &servers[i]);
		struct datagram one = { .source = servers[i],
					.destination = local_addr(client),
					.data = bytes,
					.len = 10 };
		int fd = reply_socket(&servers[i]);
		const struct datagram *got;

		close(client);
		for (int n = 0; n < 3; n++) {
			struct datagram_sent sent = send_all(fd, &one, 1);

			assert_sent(&sent, 1);
			usleep(1000);
		}
		assert_int_equal(datagram_receive(batch, fd, &got), -EAGAIN);
		assert_int_equal(sock_error(fd), 0);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_foreign),   cmocka_unit_test(test_from_many),
		cmocka_unit_test(test_link_local),     cmocka_unit_test(test_refused_sources),
		cmocka_unit_test(test_next_datagrams), cmocka_unit_test(test_fragmented),
		cmocka_unit_test(test_plain_device),   cmocka_unit_test(test_many),
		cmocka_unit_test(test_options),        cmocka_unit_test(test_refused),
		cmocka_unit_test(test_service_starts), cmocka_unit_test(test_client_is_gone),
	};
	unsigned fds;
	int failed;

	if (!make_router() || datagram_batch_new(&batch)) {
		(void)fprintf(stderr, "skipped: no namespaces, or no TPROXY of nftables\n");
		return SKIP;
	}
	servers[0] = address("203.0.113.7", 5353);
	servers[1] = address("2001:db8:ffff::7", 5353);
	set_bytes(bytes, sizeof(bytes), 4);
	fds = open_fds();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (!failed && open_fds() != fds) {
		(void)fprintf(stderr, "%u descriptors before, %u after\n", fds, open_fds());
		failed = 1;
	}
	datagram_batch_free(batch);
	return failed;
}
