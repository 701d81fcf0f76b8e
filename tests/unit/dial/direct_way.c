/* The way a dial takes: mark, interface and addresses, as the far server sees them. */
#include "rig.h"

/* The far server tells by the client's address which way was taken. */
static void goes_by(struct attempt *a, const char *far, int protocol, const char *expected)
{
	struct addr to, peer, want = address(expected, 0);
	int listener = listen_in(rig.theirs, far, protocol, &to), fd;

	a->request.target.addr = to;
	connects(a);
	fd = accepted(listener, &peer);
	peer.port = 0;
	if (!addr_equal(&peer, &want)) {
		char buf[ADDR_STRLEN];

		fail_msg("not by %s, but %s", expected, addr_format(&peer, buf));
	}
	close(fd);
	close(listener);
}

static const struct addr nowhere = { .family = AF_UNSPEC };

static void test_mark(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct attempt a;

		prepare(&a, &nowhere);
		a.dialer.options.routing_mark = MARK;
		a.dialer.options.tcp_multi_path = i >= 2;
		goes_by(&a, i % 2 ? FAR6 : FAR4, i >= 2 ? IPPROTO_MPTCP : 0,
			i % 2 ? "fd00:b::1" : "198.51.100.1");
		assert_int_equal(get_option(a.io.fd, SOL_SOCKET, SO_MARK), MARK);
		clean(&a);
	}
}

static void test_bind_interface(void **state)
{
	for (int i = 0; i < 4; i++) {
		const struct netif other = { .index = (int)if_nametoindex("v0"), .name = "v0" };
		struct attempt a;

		prepare(&a, &nowhere);
		strcpy(a.dialer.options.bind_interface, "w0");
		a.dialer.options.tcp_multi_path = i >= 2;
		a.request.interface = &other; /* the option is stronger */
		goes_by(&a, i % 2 ? FAR6 : FAR4, i >= 2 ? IPPROTO_MPTCP : 0,
			i % 2 ? "fd00:b::1" : "198.51.100.1");
		assert_int_equal(sock_bound_interface(a.io.fd), if_nametoindex("w0"));
		assert_string_equal(a.trace.list[0].interface, "w0");
		clean(&a);
	}
}

static void test_bind_interface_missing(void **state)
{
	const struct addr to = address(FAR4, 80);
	struct attempt a;

	prepare(&a, &to);
	strcpy(a.dialer.options.bind_interface, "none0");
	fails(&a, true, -ENODEV, "setsockopt(SO_BINDTODEVICE) of bind_interface");
	assert_string_equal(a.trace.list[0].interface, "none0");
	clean(&a);
}

static void test_request_interface(void **state)
{
	for (int i = 0; i < 4; i++) {
		const struct netif by = { .index = (int)if_nametoindex("w0"), .name = "w0" };
		struct attempt a;

		prepare(&a, &nowhere);
		a.request.interface = &by;
		a.dialer.options.auto_detect_interface = true; /* weaker */
		a.dialer.options.tcp_multi_path = i >= 2;
		routes.asked = 0;
		goes_by(&a, i % 2 ? FAR6 : FAR4, i >= 2 ? IPPROTO_MPTCP : 0,
			i % 2 ? "fd00:b::1" : "198.51.100.1");
		assert_int_equal(sock_bound_interface(a.io.fd), by.index);
		assert_string_equal(a.trace.list[0].interface, "w0");
		assert_int_equal(routes.asked, 0);
		clean(&a);
	}
}

static void test_auto_detect(void **state)
{
	int index = (int)if_nametoindex("w0");
	struct netif known = { .index = index, .name = "by-list" };
	struct netif_list list = { .count = 1, .list = &known };
	struct attempt a;

	routes.err = 0;
	for (int i = 0; i < 3; i++) {
		routes.interface = index;
		rig.env.interfaces = i ? &list : NULL;
		known.index = i == 1 ? index : 4711; /* not on the list: by the kernel */
		prepare(&a, &nowhere);
		a.dialer.options.auto_detect_interface = true;
		a.dialer.options.bind4 = address("198.51.100.1", 0);
		a.dialer.options.bind6 = address("fd00:b::1", 0);
		goes_by(&a, FAR4, 0, "198.51.100.1");
		assert_int_equal(sock_bound_interface(a.io.fd), index);
		assert_string_equal(a.trace.list[0].interface, i == 1 ? "by-list" : "w0");
		assert_true(addr_equal(&routes.question.destination, &a.request.target.addr));
		assert_true(addr_equal(&routes.question.source, &a.dialer.options.bind4));
		assert_int_equal(routes.question.mark, 0);
		assert_int_equal(routes.question.interface, 0);
		clean(&a);
	}
	rig.env.interfaces = NULL;

	prepare(&a, &nowhere);
	a.dialer.options.auto_detect_interface = true;
	a.dialer.options.routing_mark = MARK;
	goes_by(&a, FAR6, 0, "fd00:b::1");
	assert_int_equal(routes.question.mark, MARK);
	assert_int_equal(routes.question.source.family, AF_UNSPEC);
	clean(&a);
}

/* An address of this host is reached by loopback, and is bound to nothing; nor is what is refused. */
static void test_auto_detect_here(void **state)
{
	struct addr to;
	int listener = listen_in(NULL, "10.9.0.1", 0, &to);
	struct attempt a;

	routes.err = 0;
	routes.interface = 1;
	prepare(&a, &to);
	a.dialer.options.auto_detect_interface = true;
	connects(&a);
	assert_int_equal(sock_bound_interface(a.io.fd), 0);
	assert_string_equal(a.trace.list[0].interface, "");
	clean(&a);
	close(listener);

	routes.err = -EHOSTUNREACH;
	prepare(&a, &to);
	a.dialer.options.auto_detect_interface = true;
	fails(&a, true, -EHOSTUNREACH, "route of auto_detect_interface");
	clean(&a);
	routes.err = 0;
}

static void test_loopback_is_not_bound(void **state)
{
	static const char *const texts[] = { "127.0.0.1", "127.3.2.1", "::1" };

	for (int i = 0; i < 9; i++) {
		const struct netif by = { .index = (int)if_nametoindex("w0"), .name = "w0" };
		struct addr to;
		int listener = listen_in(NULL, texts[i % 3], 0, &to);
		struct attempt a;

		routes.asked = 0;
		prepare(&a, &to);
		if (i < 3)
			strcpy(a.dialer.options.bind_interface, "w0");
		else if (i < 6)
			a.request.interface = &by;
		else
			a.dialer.options.auto_detect_interface = true;
		connects(&a);
		assert_int_equal(sock_bound_interface(a.io.fd), 0);
		assert_string_equal(a.trace.list[0].interface, "");
		assert_int_equal(routes.asked, 0);
		clean(&a);
		close(listener);
	}
}

static void test_bind_address(void **state)
{
	for (int i = 0; i < 8; i++) {
		struct attempt a;

		prepare(&a, &nowhere);
		a.dialer.options.bind4 = address("198.51.100.1", 0);
		a.dialer.options.bind6 = address("fd00:b::1", 0);
		a.dialer.options.bind_address_no_port = i & 2;
		a.dialer.options.tcp_multi_path = i & 4;
		goes_by(&a, i & 1 ? FAR6 : FAR4, i & 4 ? IPPROTO_MPTCP : 0,
			i & 1 ? "fd00:b::1" : "198.51.100.1");
		assert_int_equal(get_option(a.io.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT),
				 !!(i & 2));
		clean(&a);
	}
}

static void test_bind_address_foreign(void **state)
{
	const struct addr to = address(FAR4, 80);
	struct attempt a;

	prepare(&a, &to);
	a.dialer.options.bind4 = address("10.1.2.3", 0);
	fails(&a, true, -EADDRNOTAVAIL, "bind to the bind address");
	clean(&a);
}

static void test_transparent(void **state)
{
	for (int i = 0; i < 8; i++) {
		const struct addr client = address(i & 1 ? "fd00:c::3" : "10.1.2.3", 5555);
		bool with_port = i & 2;
		struct addr to[2], peer;
		int listener[2], fd[2];
		struct attempt a[2];

		/* Two at a time: the client uses its port for both. */
		for (int j = 0; j < 2; j++) {
			listener[j] = listen_in(rig.theirs, i & 1 ? FAR6 : FAR4,
						i & 4 ? IPPROTO_MPTCP : 0, &to[j]);
			prepare(&a[j], &to[j]);
			a[j].dialer.options.transparent_source = with_port ? SOURCE_ADDRESS_PORT
									   : SOURCE_ADDRESS;
			a[j].dialer.options.tcp_multi_path = i & 4;
			a[j].dialer.options.bind4 = address("198.51.100.1", 0); /* weaker */
			a[j].dialer.options.bind6 = address("fd00:b::1", 0);
			a[j].request.source = client;
			connects(&a[j]);
			fd[j] = accepted(listener[j], &peer);
			assert_int_equal(peer.port == client.port, with_port);
			peer.port = client.port;
			assert_true(addr_equal(&peer, &client));
		}
		for (int j = 0; j < 2; j++) {
			clean(&a[j]);
			close(fd[j]);
			close(listener[j]);
		}
	}
}

static void test_transparent_does_not_apply(void **state)
{
	const struct addr to = address(FAR4, 80);
	struct attempt a;

	prepare(&a, &to);
	a.dialer.options.transparent_source = SOURCE_ADDRESS;
	a.request.source = address("fd00:c::3", 5555);
	fails(&a, true, -EAFNOSUPPORT, "transparent_source of another family");
	clean(&a);

	prepare(&a, &nowhere); /* no client */
	a.dialer.options.transparent_source = SOURCE_ADDRESS;
	goes_by(&a, FAR4, 0, "192.0.2.1");
	clean(&a);

	prepare(&a, &nowhere); /* not wanted */
	a.request.source = address("10.1.2.3", 5555);
	goes_by(&a, FAR4, 0, "192.0.2.1");
	clean(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mark),
		cmocka_unit_test(test_bind_interface),
		cmocka_unit_test(test_bind_interface_missing),
		cmocka_unit_test(test_request_interface),
		cmocka_unit_test(test_auto_detect),
		cmocka_unit_test(test_auto_detect_here),
		cmocka_unit_test(test_loopback_is_not_bound),
		cmocka_unit_test(test_bind_address),
		cmocka_unit_test(test_bind_address_foreign),
		cmocka_unit_test(test_transparent),
		cmocka_unit_test(test_transparent_does_not_apply),
	};

	return rig_run(tests);
}
