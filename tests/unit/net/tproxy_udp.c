/* What TPROXY hands to a listener, with the address it was sent to. */
#include "router.h"
#include <netinet/udp.h>
#include "net/tproxy.h"

static struct datagram_batch *batch;
static uint8_t bytes[100000];
static struct addr servers[2];

static int listen_at(const char *text)
{
	struct addr addr = address(text, PORT);
	const char *call = "";
	int fd = -1;

	assert_int_equal(tproxy_listen_udp(&addr, &fd, &call), 0);
	return fd;
}

static void set_int(int fd, int level, int name, int value)
{
	assert_int_equal(setsockopt(fd, level, name, &value, sizeof(value)), 0);
}

static void set_dscp(int fd, sa_family_t family, int dscp)
{
	if (family == AF_INET)
		set_int(fd, IPPROTO_IP, IP_TOS, dscp << 2 | 1);
	else
		set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, dscp << 2 | 1);
}

static void test_options(void **state)
{
	static const char *const any[] = { "0.0.0.0", "::" };

	for (int i = 0; i < 2; i++) {
		int fd = listen_at(any[i]), second = listen_at(any[i]);

		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		assert_int_equal(get_option(fd, SOL_UDP, UDP_GRO), 1);
		assert_int_equal(get_option(fd, SOL_SOCKET, SO_RCVBUF), 8 << 20);
		assert_true(sock_is_transparent(fd, AF_INET));
		close(fd);
		close(second);
	}
}

static void test_refused(void **state)
{
	struct addr nowhere = address("192.0.2.77", PORT), any = address("0.0.0.0", PORT);
	const char *call = "";
	int fd = -2, taken = udp_socket(&any);

	assert_int_equal(tproxy_listen_udp(&any, &fd, &call), -EADDRINUSE);
	assert_string_equal(call, "bind");
	assert_int_equal(fd, -2);
	close(taken);
	assert_int_equal(tproxy_listen_udp(&nowhere, &fd, &call), 0); /* it is transparent */
	close(fd);
}

/* One datagram of every kind of length to @server comes with all that is to be known. */
static void comes_with_all(int listener, const struct addr *server)
{
	static const size_t lens[] = { 0, 1, 1400, 3000, 65507 };
	int client = client_socket(server->family, NULL);
	struct addr source = local_addr(client);

	set_dscp(client, server->family, 46);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		struct datagram one = { .destination = *server, .data = bytes, .len = lens[i] };
		struct datagram_sent sent = send_all(client, &one, 1);
		const struct datagram *got;

		assert_sent(&sent, 1);
		got = receive_one(batch, listener);
		assert_addr(&got->source, &source);
		assert_addr(&got->destination, server);
		assert_int_equal(got->interface, if_nametoindex("lan"));
		assert_int_equal(got->dscp, 46);
		assert_int_equal(got->len, lens[i]);
		assert_memory_equal(got->data, bytes, lens[i]);
	}
	close(client);
}

static void test_one_family(void **state)
{
	int listener = listen_at("0.0.0.0");

	comes_with_all(listener, &servers[0]);
	close(listener);
}

static void test_dual_stack(void **state)
{
	int listener = listen_at("::");

	comes_with_all(listener, &servers[0]);
	comes_with_all(listener, &servers[1]);
	close(listener);
}

/* Each of its own destination, in one batch, from both families. */
static void test_many_destinations(void **state)
{
	int listener = listen_at("::"), clients[2], done = 0;
	const struct datagram *got = NULL;
	struct datagram list[32];
	struct datagram_sent sent;

	for (int i = 0; i < 2; i++)
		clients[i] = client_socket(i ? AF_INET6 : AF_INET, NULL);
	for (int i = 0; i < 32; i++) {
		list[i] =
			(struct datagram){ .destination = servers[i % 2], .data = bytes, .len = 4 };
		list[i].destination.port = (in_port_t)(1000 + i);
		sent = send_all(clients[i % 2], &list[i], 1);
		assert_sent(&sent, 1);
	}
	while (done < 32) {
		int received = receive(batch, listener, &got);

		assert_true(received > 0);
		for (int i = 0; i < received; i++) {
			assert_addr(&got[i].destination, &list[done++].destination);
			assert_int_equal(got[i].dscp, 0);
		}
	}
	close(clients[0]);
	close(clients[1]);
	close(listener);
}

static void test_train(void **state)
{
	int listener = listen_at("::");

	for (int i = 0; i < 2; i++) {
		int client = client_socket(servers[i].family, NULL);
		struct datagram train = {
			.destination = servers[i], .data = bytes, .len = 30001, .segment = 1300
		};
		struct datagram_sent sent = send_all(client, &train, 1);
		const struct datagram *got = NULL;

		assert_sent(&sent, 24);
		assert_int_equal(receive(batch, listener, &got), 1);
		assert_int_equal(got->segment, 1300);
		assert_int_equal(got->len, 30001);
		assert_memory_equal(got->data, bytes, got->len);
		assert_addr(&got->destination, &servers[i]);
		assert_int_equal(got->interface, if_nametoindex("lan"));
		close(client);
	}
	close(listener);
}

/* All datagrams of a sender come to one of the workers, wherever they go; not all senders to the same one. */
static void test_workers(void **state)
{
	int listeners[2] = { listen_at("::"), listen_at("::") };
	int senders[2] = { 0, 0 };

	for (int i = 0; i < 40; i++) {
		int client = client_socket(servers[i % 2].family, NULL), counts[2] = { 0, 0 };
		const struct datagram *got;

		for (int port = 1; port <= 5; port++) {
			struct datagram one = { .destination = servers[i % 2] };

			one.destination.port = (in_port_t)(port * 1111);
			send_all(client, &one, 1);
		}
		for (int tries = 0; tries < 1000 && counts[0] + counts[1] < 5; tries++) {
			for (int worker = 0; worker < 2; worker++) {
				int r = datagram_receive(batch, listeners[worker], &got);

				counts[worker] += r > 0 ? r : 0;
			}
			usleep(1000);
		}
		assert_true(counts[0] == 5 || counts[1] == 5);
		senders[counts[1] == 5]++;
		close(client);
	}
	print_message("senders: %d and %d\n", senders[0], senders[1]);
	assert_true(senders[0] && senders[1]);
	close(listeners[0]);
	close(listeners[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),           cmocka_unit_test(test_refused),
		cmocka_unit_test(test_one_family),        cmocka_unit_test(test_dual_stack),
		cmocka_unit_test(test_many_destinations), cmocka_unit_test(test_train),
		cmocka_unit_test(test_workers),
	};
	int failed;

	if (!make_router() || datagram_batch_new(&batch)) {
		(void)fprintf(stderr, "skipped: no namespaces, or no TPROXY of nftables\n");
		return SKIP;
	}
	servers[0] = address("203.0.113.7", 5353);
	servers[1] = address("2001:db8:ffff::7", 5353);
	set_bytes(bytes, sizeof(bytes), 3);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	datagram_batch_free(batch);
	return failed;
}
