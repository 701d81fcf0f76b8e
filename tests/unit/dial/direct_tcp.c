/* Fast open and multipath: what the SYN carries, and what the socket is. */
#include "rig.h"
#include <netinet/tcp.h>
#include <poll.h>

static void test_multi_path(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct addr to, peer;
		int protocol = i & 2 ? IPPROTO_MPTCP : 0; /* of the server: with 0 TCP takes over */
		int listener = listen_in(rig.theirs, i & 1 ? FAR6 : FAR4, protocol, &to), fd;
		struct attempt a;
		char text[8];

		prepare(&a, &to);
		a.dialer.options.tcp_multi_path = true;
		connects(&a);
		assert_true(sock_is_mptcp(a.io.fd));
		assert_int_equal(get_option(a.io.fd, IPPROTO_TCP, TCP_NODELAY), 1);
		fd = accepted(listener, &peer);
		assert_int_equal(sock_is_mptcp(fd), !!protocol);
		assert_int_equal(write(a.io.fd, "hello", 5), 5);
		assert_int_equal(read(fd, text, sizeof(text)), 5);
		clean(&a);
		close(fd);
		close(listener);
	}
}

static void test_multi_path_off(void **state)
{
	const struct addr to = address(FAR4, 80);
	struct attempt a;

	assert_int_equal(system("sysctl -qw net.mptcp.enabled=0"), 0);
	prepare(&a, &to);
	a.dialer.options.tcp_multi_path = true;
	fails(&a, true, -ENOPROTOOPT, "socket(IPPROTO_MPTCP) of tcp_multi_path");
	clean(&a);
	assert_int_equal(system("sysctl -qw net.mptcp.enabled=1"), 0);
}

/* True: the first write carried the SYN. */
static bool fast_opens(const struct addr *to, int listener, bool multi_path)
{
	struct pollfd poll_it = { .fd = listener, .events = POLLIN };
	struct attempt a;
	struct addr peer;
	char text[8] = "";
	bool owes;
	int fd;

	prepare(&a, to);
	a.dialer.options.tcp_fast_open = true;
	a.dialer.options.tcp_multi_path = multi_path;
	connects(&a);
	owes = a.result.owes_write;
	assert_true(a.io.have & EPOLLOUT);
	assert_false(a.io.have & (EPOLLERR | EPOLLHUP));
	assert_int_equal(poll(&poll_it, 1, 50), !owes); /* nothing was sent yet */
	assert_int_equal(write(a.io.fd, "hello", 5), 5);
	assert_int_equal(poll(&poll_it, 1, 1000), 1);
	fd = accepted(listener, &peer);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	assert_int_equal(write(fd, "back", 4), 4);
	for (int i = 0; i < 100 && read(a.io.fd, text, 4) < 0; i++)
		usleep(1000);
	assert_memory_equal(text, "back", 4);
	clean(&a);
	close(fd);
	return owes;
}

static void test_fast_open(void **state)
{
	static const int backlog = 8;

	for (int i = 0; i < 4; i++) {
		bool multi_path = i & 2;
		struct addr to;
		int listener = listen_in(rig.theirs, i & 1 ? FAR6 : FAR4,
					 multi_path ? IPPROTO_MPTCP : 0, &to);

		assert_int_equal(
			setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &backlog, sizeof(backlog)),
			0);
		/* A cookie is of an address, not of a port: MPTCP has one already. */
		assert_int_equal(fast_opens(&to, listener, multi_path), multi_path);
		assert_true(fast_opens(&to, listener, multi_path));
		assert_true(fast_opens(&to, listener, multi_path));
		close(listener);
	}
}

/* Owes its write and is dropped: the server never hears of it. */
static void test_fast_open_cancel(void **state)
{
	static const int backlog = 8;
	struct addr to;
	int listener = listen_in(rig.theirs, FAR4, 0, &to);
	struct pollfd poll_it = { .fd = listener, .events = POLLIN };
	struct attempt a;

	assert_int_equal(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &backlog, sizeof(backlog)),
			 0);
	fast_opens(&to, listener, false);
	for (int i = 0; i < 4; i++) {
		prepare(&a, &to);
		a.dialer.options.tcp_fast_open = true;
		a.leave = true;
		assert_int_equal(start(&a), 0);
		if (i & 2) {
			wait_for(&a);
			assert_true(a.result.owes_write);
		}
		dial_cancel(TAKE_PTR(a.dial), i & 1);
		clean(&a);
	}
	assert_int_equal(poll(&poll_it, 1, 20), 0);
	close(listener);
}

static void test_fast_open_off(void **state)
{
	const struct addr to = address(FAR4, 80);
	struct attempt a;

	assert_int_equal(system("sysctl -qw net.ipv4.tcp_fastopen=0"), 0);
	prepare(&a, &to);
	a.dialer.options.tcp_fast_open = true;
	fails(&a, true, -EOPNOTSUPP,
	      "setsockopt(TCP_FASTOPEN_CONNECT) of tcp_fast_open, see net.ipv4.tcp_fastopen");
	clean(&a);
	assert_int_equal(system("sysctl -qw net.ipv4.tcp_fastopen=1"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_multi_path),    cmocka_unit_test(test_multi_path_off),
		cmocka_unit_test(test_fast_open),     cmocka_unit_test(test_fast_open_cancel),
		cmocka_unit_test(test_fast_open_off),
	};

	return rig_run(tests);
}
