/* A dial connects or fails, is told of once, and leaves nothing open; what is cancelled is never told. */
#include "rig.h"
#include <netinet/tcp.h>

static void test_plain(void **state)
{
	static const char *const texts[] = { "127.0.0.1", "::1", FAR4, FAR6 };

	for (int i = 0; i < 4; i++) {
		struct addr to, peer, local;
		int listener = listen_in(i < 2 ? NULL : rig.theirs, texts[i], 0, &to), fd;
		struct attempt a;

		prepare(&a, &to);
		connects(&a);
		fd = accepted(listener, &peer);
		assert_int_equal(sock_local_addr(a.io.fd, &local), 0);
		assert_true(addr_equal(&peer, &local));
		assert_false(a.result.owes_write);
		assert_int_equal(get_option(a.io.fd, IPPROTO_TCP, TCP_NODELAY), 1);
		assert_int_equal(get_option(a.io.fd, SOL_SOCKET, SO_OOBINLINE), 1);
		assert_int_equal(get_option(a.io.fd, SOL_SOCKET, SO_MARK), 0);
		assert_int_equal(get_option(a.io.fd, SOL_SOCKET, SO_REUSEADDR), 0);
		assert_int_equal(get_option(a.io.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 0);
		assert_int_equal(sock_bound_interface(a.io.fd), 0);
		assert_false(sock_is_mptcp(a.io.fd));
		assert_int_equal(fcntl(a.io.fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(a.io.fd, F_GETFL) & O_NONBLOCK);
		assert_string_equal(a.trace.list[0].interface, "");
		clean(&a);
		close(fd);
		close(listener);
	}
}

static void test_not_taken(void **state)
{
	struct addr to, peer;
	int listener = listen_in(NULL, "127.0.0.1", 0, &to), fd;
	struct attempt a;
	char byte;

	prepare(&a, &to);
	a.leave = true;
	connects(&a);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_int_equal(read(fd, &byte, 1), -1); /* closed, by RST */
	assert_int_equal(errno, ECONNRESET);
	assert_int_equal(sock_peer_addr(fd, &peer), -ENOTCONN);
	clean(&a);
	close(fd);
	close(listener);
}

static void test_refused(void **state)
{
	struct addr to;
	char buf[128], expected[128], where[ADDR_STRLEN];
	struct attempt a;

	close(listen_in(NULL, "127.0.0.1", 0, &to));
	prepare(&a, &to);
	fails(&a, false, -ECONNREFUSED, "connect");
	snprintf(expected, sizeof(expected), "%s at %u ms: connect: Connection refused",
		 addr_format(&to, where), a.trace.list[0].start_ms);
	assert_string_equal(trace_format(&a.trace, buf, sizeof(buf)), expected);
	clean(&a);
}

static void test_unreachable(void **state)
{
	const struct addr to = address("2001:db8::1", 80);
	struct attempt a;

	prepare(&a, &to);
	fails(&a, true, -ENETUNREACH, "connect");
	clean(&a);
}

static void test_timeout(void **state)
{
	const struct addr to = address(SLOW4, 80);
	struct attempt a;

	prepare(&a, &to);
	a.dialer.connect_timeout_ms = 50;
	fails(&a, false, -ETIMEDOUT, "connect");
	assert_in_range(a.trace.list[0].took_ms, 50, 1000);
	clean(&a);
}

static void test_cancel(void **state)
{
	struct addr to;
	const struct addr slow = address(SLOW4, 80);
	int listener = listen_in(NULL, "127.0.0.1", 0, &to);

	for (int i = 0; i < 6; i++) {
		struct attempt a;
		char byte;
		int fd;

		prepare(&a, i < 4 ? &to : &slow);
		assert_int_equal(start(&a), 0);
		if (i == 5)
			assert_int_equal(loop_run_once(&rig.loop, 20), 0);
		assert_int_equal(a.trace.list[0].err, -EINPROGRESS);
		dial_cancel(TAKE_PTR(a.dial), i % 2);
		assert_int_equal(loop_run_once(&rig.loop, 0), 0);
		assert_int_equal(a.done, 0);
		assert_int_equal(a.trace.list[0].err, -ECANCELED);
		assert_null(a.trace.list[0].why);
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		assert_int_equal(fd >= 0, i < 4); /* loopback is connected at once */
		if (fd >= 0) {
			assert_int_equal(read(fd, &byte, 1), i % 2 ? -1 : 0);
			close(fd);
		}
		clean(&a);
	}
	close(listener);
}

static void test_without_trace(void **state)
{
	struct addr to;
	int listener = listen_in(NULL, "127.0.0.1", 0, &to);
	struct attempt a;
	const char *call;

	prepare(&a, &to);
	a.request.owner = &a;
	assert_int_equal(dial_start(&a.dial, &a.dialer.base, &a.request, &call), 0);
	wait_for(&a);
	assert_int_equal(a.result.err, 0);
	assert_int_equal(a.trace.count, 0);
	clean(&a);
	prepare(&a, &to);
	a.request.owner = &a;
	assert_int_equal(dial_start(&a.dial, &a.dialer.base, &a.request, &call), 0);
	clean(&a);
	close(listener);
}

static void test_netns(void **state)
{
	struct addr to;
	int listener = listen_in(rig.theirs, "127.0.0.1", 0, &to);
	struct attempt a;

	prepare(&a, &to);
	fails(&a, false, -ECONNREFUSED, "connect"); /* ours has nobody there */
	clean(&a);
	prepare(&a, &to);
	a.dialer.options.netns = rig.theirs;
	connects(&a);
	assert_int_equal(namespace_of(a.io.fd), namespace_of(listener));
	clean(&a);
	close(listener);

	/* The name of an interface is one of that namespace, and our routes say nothing of it. */
	routes.asked = 0;
	listener = listen_in(NULL, "192.0.2.1", 0, &to);
	for (int i = 0; i < 2; i++) {
		prepare(&a, &to);
		a.dialer.options.netns = rig.theirs;
		if (i)
			strcpy(a.dialer.options.bind_interface, "v1");
		a.dialer.options.auto_detect_interface = true;
		connects(&a);
		clean(&a);
	}
	assert_int_equal(routes.asked, 0);
	close(listener);
}

static void test_open_udp(void **state)
{
	struct direct_options options = { .routing_mark = MARK,
					  .bind_interface = "w0",
					  .bind4 = address("198.51.100.1", 0),
					  .bind6 = address("fd00:b::1", 0),
					  .bind_address_no_port = true, /* TCP */
					  .tcp_multi_path = true,       /* TCP */
					  .reuse_addr = true };
	const char *call = "untouched";

	for (int i = 0; i < 4; i++) {
		sa_family_t family = i & 1 ? AF_INET6 : AF_INET;
		struct addr local, want = i & 1 ? options.bind6 : options.bind4;
		int fd, level = i & 1 ? IPPROTO_IPV6 : IPPROTO_IP;
		int name = i & 1 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER;

		options.udp_fragment = options.reuse_addr = i & 2;
		fd = direct_open(&options, family, SOCK_DGRAM, &call);
		assert_true(fd >= 0);
		assert_string_equal(call, "untouched");
		assert_int_equal(get_option(fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
		assert_int_equal(get_option(fd, SOL_SOCKET, SO_MARK), MARK);
		assert_int_equal(sock_bound_interface(fd), if_nametoindex("w0"));
		assert_int_equal(get_option(fd, SOL_SOCKET, SO_REUSEADDR), !!(i & 2));
		assert_int_equal(get_option(fd, SOL_SOCKET, SO_REUSEPORT), !!(i & 2));
		assert_int_equal(get_option(fd, level, name) == IP_PMTUDISC_DO, !(i & 2));
		assert_int_equal(get_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 0);
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(sock_local_addr(fd, &local), 0);
		assert_true(local.port);
		local.port = 0;
		assert_true(addr_equal(&local, &want));
		close(fd);
	}
}

static void test_open_tcp(void **state)
{
	struct direct_options options = { .bind4 = address("198.51.100.1", 0),
					  .bind_address_no_port = true,
					  .reuse_addr = true, /* UDP */
					  .tcp_multi_path = true };
	const char *call;
	int fd = direct_open(&options, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, &call);

	assert_true(sock_is_mptcp(fd));
	assert_int_equal(get_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 1);
	assert_int_equal(get_option(fd, SOL_SOCKET, SO_REUSEADDR), 0);
	close(fd);
	options = (struct direct_options){ .netns = rig.theirs, .bind_interface = "v1" };
	fd = direct_open(&options, AF_INET6, SOCK_STREAM, &call);
	assert_true(fd >= 0);
	assert_false(sock_is_mptcp(fd));
	assert_true(sock_bound_interface(fd));
	close(fd);
}

static void test_open_refused(void **state)
{
	struct direct_options options = { .bind_interface = "none0" };
	const char *call = "";

	assert_int_equal(direct_open(&options, AF_INET, SOCK_DGRAM, &call), -ENODEV);
	assert_string_equal(call, "setsockopt(SO_BINDTODEVICE) of bind_interface");
	options = (struct direct_options){ .bind6 = address("2001:db8::9", 0) };
	assert_int_equal(direct_open(&options, AF_INET6, SOCK_STREAM, &call), -EADDRNOTAVAIL);
	assert_string_equal(call, "bind to the bind address");
	assert_int_equal(direct_open(&options, AF_MAX, SOCK_STREAM, &call), -EAFNOSUPPORT);
	assert_string_equal(call, "socket");
}

static void test_dialer_free(void **state)
{
	struct direct_dialer *dialer = calloc(1, sizeof(*dialer));

	assert_non_null(dialer);
	*dialer = (struct direct_dialer){ .base.ops = &dial_direct_ops,
					  .options.protect_path = strdup("/nowhere") };
	dialer->base.ops->free(&dialer->base); /* the sanitizer sees what is left */
}

static void drain(int listener)
{
	for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
		close(fd);
}

static void test_many(void **state)
{
	enum { COUNT = 1000, AT_ONCE = 40 };
	static struct attempt list[AT_ONCE];
	struct addr to, closed;
	const struct addr slow = address(SLOW4, 80);
	unsigned fds = open_fds(), done = 0, cancelled = 0;
	int listener = listen_in(NULL, "127.0.0.1", 0, &to);
	uint64_t random = 0x9e3779b97f4a7c15;

	close(listen_in(NULL, "127.0.0.1", 0, &closed));
	for (int i = 0; i < COUNT; i++) {
		struct attempt *a = &list[i % AT_ONCE];
		unsigned dice;

		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		dice = (unsigned)(random >> 32);
		if (i >= AT_ONCE) {
			done += a->done;
			cancelled += a->dial != NULL;
			clean(a);
		}
		prepare(a, dice % 8 == 0 ? &slow : dice % 8 == 1 ? &closed : &to);
		a->dialer.connect_timeout_ms = dice >> 3 & 15;
		a->dialer.options.routing_mark = dice >> 7 & 1;
		a->leave = dice >> 8 & 1;
		assert_int_equal(start(a), 0);
		if (dice >> 9 & 1)
			dial_cancel(TAKE_PTR(a->dial), dice >> 10 & 1);
		if (!(dice >> 11 & 15))
			assert_int_equal(loop_run_once(&rig.loop, 0), 0);
		drain(listener);
	}
	for (int i = 0; i < AT_ONCE; i++)
		clean(&list[i]);
	drain(listener);
	close(listener);
	assert_true(done > COUNT / 10 && cancelled > COUNT / 100);
	assert_int_equal(open_fds(), fds);
	assert_int_equal(rig.loop.io_count, 0);
	assert_true(timer_wheel_empty(&rig.loop.timers));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),         cmocka_unit_test(test_not_taken),
		cmocka_unit_test(test_refused),       cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_timeout),       cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_without_trace), cmocka_unit_test(test_netns),
		cmocka_unit_test(test_open_udp),      cmocka_unit_test(test_open_tcp),
		cmocka_unit_test(test_open_refused),  cmocka_unit_test(test_dialer_free),
		cmocka_unit_test(test_many),
	};

	return rig_run(tests);
}
