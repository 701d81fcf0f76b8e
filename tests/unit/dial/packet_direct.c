/* A way that is a plain socket: what ends it and what does not, and whom it speaks to. */
#include "udp_rig.h"
#include "dial/handshake.h"
#include "dial/packet_direct.h"

static void in_theirs(const char *command)
{
	int ours_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_int_equal(setns(rig.theirs_fd, CLONE_NEWNET), 0);
	if (system(command))
		fail_msg("%s", command);
	assert_int_equal(setns(ours_fd, CLONE_NEWNET), 0);
	close(ours_fd);
}

/* Nobody is there: a connected way says so, after what it has; an open one goes on. */
static void test_refused(void **state)
{
	for (int i = 0; i < 4; i++) {
		bool one_peer = i & 1;
		const struct datagram *list;
		struct addr to, from;
		int server = serve_in(rig.theirs, i & 2 ? FAR6 : FAR4, &to);
		struct udp u;

		udp_prepare(&u, &to, one_peer);
		udp_opens(&u);
		says(&u, "hello", NULL);
		from = hears(server, "hello");
		answer(server, &from, "last words");
		close(server);
		says(&u, "anybody", NULL);
		usleep(20000);
		gets_one(&u, "last words", &to);
		assert_int_equal(receives(&u, one_peer ? 2000 : 100, &list),
				 one_peer ? -ECONNREFUSED : -EAGAIN);
		if (one_peer)
			assert_string_equal(way_of(&u)->call, "icmp");
		else
			is_quiet(&u);
		udp_clean(&u);
	}
}

/* The error was there when the next datagram was sent: that one leaves, and the error is told all the same. */
static void test_refused_while_sending(void **state)
{
	for (int i = 0; i < 2; i++) {
		const struct datagram *list;
		struct addr to;
		int server = serve_in(rig.theirs, i ? FAR6 : FAR4, &to);
		struct udp u;

		close(server);
		udp_prepare(&u, &to, true);
		udp_opens(&u);
		says(&u, "anybody", NULL);
		usleep(20000);
		server = netns_socket(rig.theirs, to.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_int_equal(sock_bind_address(server, &to, false), 0);
		says(&u, "somebody", NULL);
		(void)hears(server, "somebody");
		assert_int_equal(receives(&u, 2000, &list), -ECONNREFUSED);
		udp_clean(&u);
		close(server);
	}
}

/* A router on the way has a smaller MTU, and says so: the datagram is lost, the way is not. */
static void test_path_mtu(void **state)
{
	char text[1401];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	in_theirs("ip link add d0 type veth peer name d1 && ip link set d1 up && "
		  "ip link set d0 mtu 1300 up && "
		  "ip addr add 203.0.113.129/25 dev d0 && ip -6 addr add fd00:f::f:1/112 dev d0 "
		  "nodad "
		  "&& sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
	for (int i = 0; i < 4; i++) {
		const struct addr to = address(i & 1 ? "fd00:f::f:9" : "203.0.113.200", 53);
		const struct datagram *list;
		struct datagram_sent sent;
		struct udp u;

		udp_prepare(&u, &to, true);
		u.a.dialer.options.udp_fragment = i & 2;
		udp_opens(&u);
		(void)say(&u, text, NULL);
		usleep(20000);
		assert_int_equal(receives(&u, 100, &list), -EAGAIN);
		is_quiet(&u);
		sent = say(&u, text, NULL);
		assert_int_equal(sent.failed, !(i & 2)); /* now it is known here */
		if (sent.failed)
			assert_int_equal(sent.err, -EMSGSIZE);
		assert_int_equal(receives(&u, 60, &list), -EAGAIN);
		udp_clean(&u);
	}
	in_theirs(
		"ip link del d0; sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
}

struct two {
	int server, other;
	struct addr to, other_to;
};

/* 80 datagrams, more than one call takes: one in four to the other server. */
static struct datagram_sent send_to_both(const struct udp *u, const struct two *two)
{
	struct datagram list[80];
	struct datagram_sent sent;

	for (int i = 0; i < 80; i++)
		list[i] = (struct datagram){ .data = (const uint8_t *)"x",
					     .len = i % 2,
					     .head = (const uint8_t *)"h",
					     .head_len = 1,
					     .destination = i % 4 ? two->to : two->other_to };
	packet_send(way_of(u), list, 80, &sent);
	return sent;
}

static struct addr hears_all(const struct two *two)
{
	struct addr from;

	for (int i = 0; i < 80; i++)
		if (i % 4)
			from = hears(two->server, i % 2 ? "hx" : "h");
	return from;
}

static void open_two(struct two *two, bool v6)
{
	two->server = serve_in(rig.theirs, v6 ? FAR6 : FAR4, &two->to);
	two->other = serve_in(rig.theirs, v6 ? "fd00:b::2" : "198.51.100.2", &two->other_to);
}

static void close_two(const struct two *two)
{
	close(two->server);
	close(two->other);
}

/* To whom it is told to, from one port, and answered by anybody. */
static void test_open(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct addr from, from_other = { 0 };
		struct datagram_sent sent;
		struct two two;
		struct udp u;

		open_two(&two, i);
		udp_prepare(&u, &two.to, false);
		udp_opens(&u);
		sent = send_to_both(&u, &two);
		assert_int_equal(sent.sent, 80);
		assert_int_equal(sent.failed + (unsigned)-sent.err, 0);
		from = hears_all(&two);
		for (int j = 0; j < 20; j++)
			from_other = hears(two.other, "h");
		assert_int_equal(from.port, from_other.port);
		answer(two.other, &from_other, "from other");
		gets(&u, "from other", &two.other_to);
		udp_clean(&u);
		close_two(&two);
	}
}

static void test_bound(void **state)
{
	for (int i = 0; i < 2; i++) {
		const struct datagram *list;
		struct datagram_sent sent;
		struct addr from;
		struct two two;
		struct udp u;

		open_two(&two, i);
		udp_prepare(&u, &two.to, true);
		udp_opens(&u);
		sent = send_to_both(&u, &two);
		assert_int_equal(sent.sent, 60);
		assert_int_equal(sent.failed, 20);
		assert_int_equal(sent.err, -EISCONN);
		from = hears_all(&two);
		answer(two.other, &from, "unasked");
		assert_int_equal(receives(&u, 60, &list), -EAGAIN);
		udp_clean(&u);
		close_two(&two);
	}
}

/* What a stranger sent before connect() does not pass for the peer's. */
static void test_before_connect(void **state)
{
	static const char *const strangers[] = { "p...", "sps.", "..p.", "...." };

	for (int i = 0; i < 4; i++) {
		struct addr peer, stranger_addr, local = address("127.0.0.1", 0);
		int server = serve_in(NULL, "127.0.0.1", &peer);
		int stranger = serve_in(NULL, "127.0.0.1", &stranger_addr);
		struct udp u = { .a.result.packet = NULL };
		struct loop_io io;
		struct sockaddr_storage sa;
		socklen_t len = addr_to_sockaddr(&peer, &sa);
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), got = 0;

		udp_prepare(&u, &peer, true);
		assert_int_equal(sock_bind_address(fd, &local, false), 0);
		assert_int_equal(sock_local_addr(fd, &local), 0);
		for (const char *c = strangers[i]; *c; c++)
			answer(*c == 'p' ? server : stranger, &local, *c == 'p' ? "p" : "s");
		assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
		answer(server, &local, "p");
		assert_int_equal(loop_io_init(&io, &rig.loop, fd, NULL), 0);
		assert_int_equal(packet_direct_new(&u.a.result.packet, &io, &peer, true, true), 0);
		packet_listen(way_of(&u), on_ready, &u);
		for (int turn = 0; turn < 5; turn++) {
			const struct datagram *list;
			int n = receives(&u, 40, &list);

			for (int j = 0; j < n; j++, got++)
				assert_memory_equal(list[j].data, "p", 1);
		}
		assert_true(got >= (i < 3) && got <= 2);
		is_quiet(&u);
		udp_clean(&u);
		close(server);
		close(stranger);
	}
}

static void test_flood(void **state)
{
	enum { COUNT = 200 };
	struct addr to, from;
	int server = serve_in(rig.theirs, FAR4, &to), got = 0;
	struct udp u;

	udp_prepare(&u, &to, false);
	udp_opens(&u);
	says(&u, "hello", NULL);
	from = hears(server, "hello");
	for (int i = 0; i < COUNT; i++)
		answer(server, &from, i % 2 ? "x" : ""); /* nothing is a datagram, too */
	for (int turn = 0; turn < COUNT && got < COUNT; turn++) {
		const struct datagram *list;
		int n = receives(&u, 100, &list);

		for (int i = 0; i < n; i++)
			got += (int)datagram_count(&list[i]);
	}
	assert_int_equal(got, COUNT);
	udp_clean(&u);
	close(server);
}

/* Sending makes room in the queue again and again: nobody is woken up for it. */
static void test_sending_wakes_nobody(void **state)
{
	struct epoll_event event;
	struct addr to;
	int server = serve_in(rig.theirs, FAR4, &to);
	struct udp u;

	udp_prepare(&u, &to, true);
	udp_opens(&u);
	is_quiet(&u);
	for (int i = 0; i < 5; i++) {
		says(&u, "hello", NULL);
		(void)hears(server, "hello");
		assert_int_equal(epoll_wait(rig.loop.epoll_fd, &event, 1, 5), 0);
	}
	udp_clean(&u);
	close(server);
}

/* The queue is full of datagrams whose next hop does not answer: the rest is lost, and counted. */
static void test_full(void **state)
{
	static const int small = 4096;
	const struct addr to = address(SLOW4, 53);
	static const uint8_t data[1000];
	struct datagram list[20];
	struct datagram_sent sent;
	struct udp u;

	udp_prepare(&u, &to, true);
	udp_opens(&u);
	assert_int_equal(setsockopt(u.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (int i = 0; i < 20; i++)
		list[i] = (struct datagram){ .data = data, .len = sizeof(data) };
	packet_send(way_of(&u), list, 20, &sent);
	assert_int_equal(sent.sent + sent.failed, 20);
	assert_in_range(sent.failed, 1, 19);
	assert_int_equal(sent.err, -EAGAIN);
	is_quiet(&u);
	udp_clean(&u);
}

static void test_proxies_without(void **state)
{
	static const struct {
		const struct handshake_ops *ops;
		const char *call;
	} cases[] = { { &http_connect_handshake, "http carries no UDP" },
		      { &socks4_handshake, "socks4 carries no UDP" },
		      { &proxy_v1_handshake, "proxy_protocol carries no UDP" },
		      { &proxy_v2_handshake, "proxy_protocol carries no UDP" } };
	const struct addr to = address(FAR4, 53);

	for (size_t i = 0; i < 4; i++) {
		struct udp u;
		struct handshake_dialer proxy = { .base.ops = &dial_handshake_ops,
						  .via = &u.a.dialer.base,
						  .ops = cases[i].ops };
		const char *call = NULL;

		udp_prepare(&u, &to, false);
		assert_int_equal(dial_start(&u.a.dial, &proxy.base, &u.a.request, &call),
				 -EPROTONOSUPPORT);
		assert_string_equal(call, cases[i].call);
		udp_clean(&u);
	}
	packet_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),  cmocka_unit_test(test_refused_while_sending),
		cmocka_unit_test(test_path_mtu), cmocka_unit_test(test_open),
		cmocka_unit_test(test_bound),    cmocka_unit_test(test_before_connect),
		cmocka_unit_test(test_flood),    cmocka_unit_test(test_sending_wakes_nobody),
		cmocka_unit_test(test_full),     cmocka_unit_test(test_proxies_without),
	};

	return rig_run(tests);
}
