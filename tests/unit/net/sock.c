/* Socket options are what the kernel says they are afterwards. */
#include "common.h"
#include <netinet/tcp.h>
#include "net/sock.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static const sa_family_t families[] = { AF_INET, AF_INET6 };

static int open_one(sa_family_t family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);

	assert_true(fd >= 0);
	return fd;
}

static void test_interface(void **state)
{
	const struct addr to[] = { address("192.0.2.1", 9), address("2001:db8::1", 9) };
	struct sockaddr_storage sa;
	socklen_t len;

	for (int i = 0; i < 2; i++) {
		int lo = (int)if_nametoindex("lo");
		int fd = open_one(families[i], SOCK_STREAM, 0);

		assert_int_equal(sock_bound_interface(fd), 0);
		assert_int_equal(sock_bind_interface(fd, "lo"), 0);
		assert_int_equal(sock_bound_interface(fd), lo);
		assert_int_equal(sock_bind_interface(fd, "seam-none"), -ENODEV);
		close(fd);
		fd = open_one(families[i], SOCK_DGRAM, 0);
		assert_int_equal(sock_bind_ifindex(fd, lo), 0);
		assert_int_equal(sock_bound_interface(fd), lo);
		close(fd);
		fd = open_one(families[i], SOCK_DGRAM, 0);
		assert_int_equal(sock_bind_ifindex(fd, 4711), 0); /* not looked at */
		len = addr_to_sockaddr(&to[i], &sa);
		assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), -1);
		assert_int_equal(errno, i ? ENETUNREACH : ENODEV);
		close(fd);
	}
}

static void test_bind_address(void **state)
{
	const struct addr loopback[] = { address("127.0.0.1", 0), address("::1", 0) };

	for (int i = 0; i < 2; i++) {
		struct addr local;
		int fd = open_one(families[i], SOCK_STREAM, 0), again;

		assert_int_equal(sock_bind_address(fd, &loopback[i], false), 0);
		assert_int_equal(get_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 0);
		assert_int_equal(sock_local_addr(fd, &local), 0);
		assert_true(local.port);
		again = open_one(families[i], SOCK_STREAM, 0);
		assert_int_equal(sock_bind_address(again, &local, false), -EADDRINUSE);
		close(again);
		close(fd);

		fd = open_one(families[i], SOCK_STREAM, 0);
		assert_int_equal(sock_bind_address(fd, &loopback[i], true), 0);
		assert_int_equal(get_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 1);
		assert_int_equal(sock_local_addr(fd, &local), 0);
		assert_int_equal(local.port, 0);
		close(fd);
	}
}

static void test_transparent(void **state)
{
	const struct addr foreign[] = { address("192.0.2.7", 0), address("2001:db8::7", 0) };

	for (int i = 0; i < 2; i++) {
		int fd = open_one(families[i], SOCK_STREAM, 0);

		assert_int_equal(sock_bind_address(fd, &foreign[i], false), -EADDRNOTAVAIL);
		assert_int_equal(sock_set_transparent(fd, families[i]), 0);
		assert_int_equal(sock_bind_address(fd, &foreign[i], false), 0);
		close(fd);
	}
}

static void test_reuse(void **state)
{
	int fd = open_one(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(sock_set_reuse(fd), 0);
	assert_int_equal(get_option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
	assert_int_equal(get_option(fd, SOL_SOCKET, SO_REUSEPORT), 0);
	assert_int_equal(sock_set_reuse_port(fd), 0);
	assert_int_equal(get_option(fd, SOL_SOCKET, SO_REUSEPORT), 1);
	close(fd);
}

static void test_dont_fragment(void **state)
{
	static char big[1400];
	const struct addr to[] = { address("127.0.0.1", 9), address("::1", 9) };

	assert_int_equal(system("ip link set lo mtu 1300"), 0);
	for (int i = 0; i < 2; i++) {
		int fd = open_one(families[i], SOCK_DGRAM, 0);
		struct sockaddr_storage sa;
		socklen_t len = addr_to_sockaddr(&to[i], &sa);

		assert_int_equal(sendto(fd, big, sizeof(big), 0, (struct sockaddr *)&sa, len),
				 sizeof(big));
		assert_int_equal(sock_set_dont_fragment(fd, families[i]), 0);
		assert_int_equal(sendto(fd, big, sizeof(big), 0, (struct sockaddr *)&sa, len), -1);
		assert_int_equal(errno, EMSGSIZE);
		close(fd);
	}
	assert_int_equal(system("ip link set lo mtu 65536"), 0);
}

static void set_fast_open(int value)
{
	FILE *file = fopen("/proc/sys/net/ipv4/tcp_fastopen", "w");

	assert_non_null(file);
	assert_true(fprintf(file, "%d\n", value) > 0);
	assert_int_equal(fclose(file), 0);
}

static void test_fast_open(void **state)
{
	int fd = open_one(AF_INET, SOCK_STREAM, 0);

	set_fast_open(0);
	assert_int_equal(sock_set_fast_open_connect(fd), -EOPNOTSUPP);
	set_fast_open(1);
	assert_int_equal(sock_set_fast_open_connect(fd), 0);
	assert_int_equal(get_option(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT), 1);
	close(fd);
}

static void test_mptcp(void **state)
{
	int fd = open_one(AF_INET, SOCK_STREAM, 0);

	assert_false(sock_is_mptcp(fd));
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	if (fd < 0)
		skip();
	assert_true(sock_is_mptcp(fd));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interface),     cmocka_unit_test(test_bind_address),
		cmocka_unit_test(test_transparent),   cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_dont_fragment), cmocka_unit_test(test_fast_open),
		cmocka_unit_test(test_mptcp),
	};

	if (!enter_new_namespace())
		return SKIP;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
