/* A dial waits for the service at protect_path before it connects, and within its own time. */
#include "rig.h"
#include <sys/un.h>

static char service_path[64];

static int open_service(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(service_path, sizeof(service_path), "/tmp/seam-direct-%d", (int)getpid());
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", service_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* The socket that the service at @peer was handed. */
static int handed(int peer)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *header;
	int fd = -1;

	assert_int_equal(recvmsg(peer, &msg, MSG_CMSG_CLOEXEC), 1);
	header = CMSG_FIRSTHDR(&msg);
	if (header)
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	assert_true(fd >= 0);
	return fd;
}

static int start_protected(struct attempt *a, const struct addr *to, int service)
{
	prepare(a, to);
	a->dialer.options.protect_path = service_path;
	a->dialer.options.routing_mark = MARK;
	a->dialer.options.bind4 = address("127.0.0.1", 0);
	assert_int_equal(start(a), 0);
	return accept4(service, NULL, NULL, SOCK_CLOEXEC);
}

static void test_protect(void **state)
{
	struct addr to, local;
	int listener = listen_in(NULL, "127.0.0.1", 0, &to), service = open_service();
	struct attempt a;
	int peer = start_protected(&a, &to, service), fd = handed(peer);

	assert_int_equal(get_option(fd, SOL_SOCKET, SO_MARK), MARK);
	assert_int_equal(get_option(fd, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
	assert_int_equal(sock_local_addr(fd, &local), 0);
	assert_true(addr_is_unspecified(&local)); /* neither bound nor connected */
	assert_int_equal(sock_peer_addr(fd, &local), -ENOTCONN);
	assert_int_equal(loop_run_once(&rig.loop, 10), 0);
	assert_int_equal(a.done, 0);
	assert_int_equal(write(peer, "", 1), 1);
	wait_for(&a);
	assert_int_equal(a.result.err, 0);
	assert_int_equal(sock_peer_addr(fd, &local), 0);
	assert_int_equal(a.trace.list[0].err, 0);
	clean(&a);
	close(fd);
	close(peer);

	close(listener); /* agreed, and then refused by the target */
	peer = start_protected(&a, &to, service);
	assert_int_equal(write(peer, "", 1), 1);
	wait_for(&a);
	assert_int_equal(a.result.err, -ECONNREFUSED);
	assert_string_equal(a.result.call, "connect");
	clean(&a);
	close(peer);
	close(service);
	unlink(service_path);
}

/* What connect() says at once is told by the callback too. */
static void test_protect_then_unreachable(void **state)
{
	const struct addr to = address("2001:db8::1", 80);
	int service = open_service(), peer;
	struct attempt a;

	peer = start_protected(&a, &to, service);
	assert_int_equal(write(peer, "", 1), 1);
	wait_for(&a);
	assert_string_equal(a.result.call, "connect");
	assert_int_equal(a.result.err, -ENETUNREACH);
	assert_int_equal(a.trace.list[0].err, -ENETUNREACH);
	clean(&a);
	close(peer);
	close(service);
	unlink(service_path);
}

static void test_protect_fails(void **state)
{
	const struct addr to = address("127.0.0.1", 9);
	int service = open_service(), peer;
	struct attempt a;

	close(start_protected(&a, &to, service)); /* hangs up */
	wait_for(&a);
	assert_int_equal(a.result.err, -EACCES);
	assert_string_equal(a.result.call, "protect_path");
	clean(&a);

	peer = start_protected(&a, &to, service); /* says nothing, and is given up */
	assert_int_equal(loop_run_once(&rig.loop, 5), 0);
	dial_cancel(TAKE_PTR(a.dial), true);
	assert_int_equal(a.trace.list[0].err, -ECANCELED);
	clean(&a);
	close(peer);

	prepare(&a, &to); /* says nothing for too long */
	a.dialer.options.protect_path = service_path;
	a.dialer.connect_timeout_ms = 30;
	fails(&a, false, -ETIMEDOUT, "protect_path");
	clean(&a);

	close(service);
	prepare(&a, &to);
	a.dialer.options.protect_path = service_path;
	fails(&a, true, -ECONNREFUSED, "protect_path");
	clean(&a);
	unlink(service_path);
	prepare(&a, &to);
	a.dialer.options.protect_path = service_path;
	fails(&a, true, -ENOENT, "protect_path");
	clean(&a);
}

/* Datagrams wait as well, and whether there is a route is asked as the service has left the socket. */
static void test_protect_datagrams(void **state)
{
	static const uint32_t mark = MARK;

	for (int i = 0; i < 6; i++) {
		/* 0 and 1: a route for all; then one that is there by the mark alone, without it and with it */
		const struct addr to = address(i < 2 ? "127.0.0.1" : "10.77.0.1", 53);
		int service = open_service(), peer, fd, err = i == 2 || i == 3 ? -ENETUNREACH : 0;
		struct addr local;
		struct attempt a;

		prepare(&a, &to);
		a.request.type = SOCK_DGRAM;
		a.request.one_peer = i & 1;
		a.dialer.options.protect_path = service_path;
		assert_int_equal(start(&a), 0);
		peer = accept4(service, NULL, NULL, SOCK_CLOEXEC);
		fd = handed(peer);
		assert_int_equal(get_option(fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
		assert_int_equal(sock_local_addr(fd, &local), 0);
		assert_int_equal(local.port, 0); /* neither bound nor connected */
		assert_int_equal(loop_run_once(&rig.loop, 10), 0);
		assert_int_equal(a.done, 0);
		if (i >= 4)
			assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)),
					 0);
		assert_int_equal(write(peer, "", 1), 1);
		wait_for(&a);
		assert_int_equal(a.result.err, err);
		assert_int_equal(a.result.packet != NULL, !err);
		assert_int_equal(a.trace.list[0].err, err);
		clean(&a);

		prepare(&a, &to); /* cancelled while it waits */
		a.request.type = SOCK_DGRAM;
		a.dialer.options.protect_path = service_path;
		assert_int_equal(start(&a), 0);
		assert_int_equal(loop_run_once(&rig.loop, 5), 0);
		dial_cancel(TAKE_PTR(a.dial), i & 1);
		assert_int_equal(rig.loop.io_count, 0);
		clean(&a);
		close(fd);
		close(peer);
		close(service);
		unlink(service_path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_protect),
		cmocka_unit_test(test_protect_then_unreachable),
		cmocka_unit_test(test_protect_fails),
		cmocka_unit_test(test_protect_datagrams),
	};

	return rig_run(tests);
}
