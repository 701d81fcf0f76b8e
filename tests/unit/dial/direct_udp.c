/* Sockets for datagrams: as their outbound wants them, and only where there is a route. */
#include "udp_rig.h"
#include "base/names.h"
#include "dial/race.h"

static void test_plain(void **state)
{
	static const char *const texts[] = { "127.0.0.1", "::1", FAR4, FAR6 };

	for (int i = 0; i < 8; i++) {
		bool one_peer = i & 4, here = i % 4 < 2;
		struct addr to, from, local;
		int server = serve_in(here ? NULL : rig.theirs, texts[i % 4], &to);
		struct udp u;

		udp_prepare(&u, &to, one_peer);
		udp_opens(&u);
		assert_int_equal(sock_local_addr(u.fd, &local), 0);
		assert_int_equal(!local.port, !one_peer && !here); /* until it is used */
		assert_true(addr_equal(&way_of(&u)->peer, &to));
		assert_int_equal(way_of(&u)->bound, one_peer || here);
		says(&u, "hello", NULL);
		from = hears(server, "hello");
		answer(server, &from, "world");
		gets(&u, "world", &to);
		says(&u, "again", &to);
		local = hears(server, "again");
		assert_true(addr_equal(&from, &local));
		is_quiet(&u);
		assert_int_equal(fcntl(u.fd, F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(u.fd, F_GETFL) & O_NONBLOCK);
		assert_int_equal(get_option(u.fd, IPPROTO_UDP, UDP_GRO), 1);
		assert_int_equal(get_option(u.fd, SOL_SOCKET, SO_REUSEADDR), 0);
		assert_int_equal(get_option(u.fd, SOL_SOCKET, SO_MARK), 0);
		assert_int_equal(sock_bound_interface(u.fd), 0);
		udp_clean(&u);
		close(server);
	}
}

static void with_options(int i, struct direct_options *options)
{
	options->udp_fragment = options->reuse_addr = i & 4;
	switch (i >> 3) {
	case 0:
		options->routing_mark = MARK;
		break;
	case 1:
		strcpy(options->bind_interface, "w0");
		break;
	case 2:
		strcpy(options->bind_interface, "w0");
		options->bind4 = address("198.51.100.1", 0);
		options->bind6 = address("fd00:b::1", 0);
		break;
	default:
		options->auto_detect_interface = true;
		options->bind_address_no_port = options->tcp_multi_path = true; /* TCP */
	}
}

/* All of them: IPv4 and IPv6, open and connected, and each leaves by w0. */
static void test_options(void **state)
{
	routes.err = 0;
	routes.interface = (int)if_nametoindex("w0");
	for (int i = 0; i < 32; i++) {
		bool v6 = i & 1, one_peer = i & 2, reuse = i & 4;
		struct addr to, from, want = address(v6 ? "fd00:b::1" : "198.51.100.1", 0);
		int server = serve_in(rig.theirs, v6 ? FAR6 : FAR4, &to), discover;
		struct udp u;

		udp_prepare(&u, &to, one_peer);
		with_options(i, &u.a.dialer.options);
		udp_opens(&u);
		assert_int_equal(get_option(u.fd, SOL_SOCKET, SO_MARK), i >> 3 ? 0 : MARK);
		assert_int_equal(sock_bound_interface(u.fd), i >> 3 ? if_nametoindex("w0") : 0);
		assert_string_equal(u.a.trace.list[0].interface, i >> 3 ? "w0" : "");
		assert_int_equal(get_option(u.fd, SOL_SOCKET, SO_REUSEADDR), reuse);
		assert_int_equal(get_option(u.fd, SOL_SOCKET, SO_REUSEPORT), reuse);
		discover = v6 ? get_option(u.fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER)
			      : get_option(u.fd, IPPROTO_IP, IP_MTU_DISCOVER);
		assert_int_equal(discover == IP_PMTUDISC_DO, !(i & 4));
		says(&u, "hello", NULL);
		from = hears(server, "hello");
		answer(server, &from, "world");
		gets(&u, "world", &to);
		from.port = 0;
		assert_true(addr_equal(&from, &want));
		udp_clean(&u);
		close(server);
	}
}

static void test_request_interface(void **state)
{
	for (int i = 0; i < 4; i++) {
		const struct netif by = { .index = (int)if_nametoindex("w0"), .name = "w0" };
		struct addr to, from, want = address("198.51.100.1", 0);
		int server = serve_in(rig.theirs, FAR4, &to);
		struct udp u;

		udp_prepare(&u, &to, i & 1);
		u.a.request.interface = &by;
		u.a.request.unbound = i & 2;
		udp_opens(&u);
		says(&u, "hello", NULL);
		from = hears(server, "hello");
		from.port = 0;
		assert_int_equal(addr_equal(&from, &want), !(i & 2));
		assert_string_equal(u.a.trace.list[0].interface, "w0");
		udp_clean(&u);
		close(server);
	}
}

static void test_netns(void **state)
{
	for (int i = 0; i < 4; i++) {
		bool one_peer = i & 1;
		struct addr to, from;
		int server = serve_in(rig.theirs, i & 2 ? "192.0.2.2" : FAR6, &to);
		struct udp u;

		udp_prepare(&u, &to, one_peer);
		u.a.dialer.options.netns = rig.theirs;
		udp_opens(&u);
		assert_int_equal(namespace_of(u.fd), namespace_of(server));
		says(&u, "hello", NULL);
		from = hears(server, "hello");
		from.port = to.port;
		assert_true(addr_equal(&from, &to)); /* not by our links */
		udp_clean(&u);
		close(server);
	}
}

/* The client's address, with its port also for two at a time. */
static void test_transparent(void **state)
{
	for (int i = 0; i < 8; i++) {
		const struct addr client = address(i & 1 ? "fd00:c::3" : "10.1.2.3", 5555);
		bool with_port = i & 2, one_peer = i & 4;
		int server[2], count = with_port && !one_peer ? 1 : 2;
		struct addr to[2], from[2];
		struct udp u[2];

		for (int j = 0; j < count; j++) {
			server[j] = serve_in(rig.theirs, i & 1 ? FAR6 : FAR4, &to[j]);
			udp_prepare(&u[j], &to[j], one_peer);
			u[j].a.dialer.options.transparent_source = with_port ? SOURCE_ADDRESS_PORT
									     : SOURCE_ADDRESS;
			u[j].a.dialer.options.bind4 = address("198.51.100.1", 0); /* weaker */
			u[j].a.dialer.options.reuse_addr = j;
			u[j].a.request.source = client;
			udp_opens(&u[j]);
		}
		for (int j = 0; j < count; j++) {
			says(&u[j], "hello", NULL);
			from[j] = hears(server[j], "hello");
			assert_int_equal(from[j].port == client.port, with_port);
			answer(server[j], &from[j], "world");
			gets(&u[j], "world", &to[j]);
			from[j].port = client.port;
			assert_true(addr_equal(&from[j], &client));
		}
		for (int j = 0; j < count; j++) {
			udp_clean(&u[j]);
			close(server[j]);
		}
	}
}

static void refused_as(void (*change)(struct attempt *a), const char *text, int err,
		       const char *call)
{
	for (int i = 0; i < 2; i++) {
		const struct addr to = address(text, 53);
		struct udp u;

		udp_prepare(&u, &to, i);
		change(&u.a);
		fails(&u.a, true, err, call);
		udp_clean(&u);
	}
}

static void change_nothing(struct attempt *a) {}

static void change_interface(struct attempt *a)
{
	strcpy(a->dialer.options.bind_interface, "none0");
}

static void change_address(struct attempt *a)
{
	a->dialer.options.bind4 = address("10.1.2.3", 0);
}

static void change_family(struct attempt *a)
{
	a->dialer.options.transparent_source = SOURCE_ADDRESS;
	a->request.source = address("fd00:c::3", 5555);
}

static void test_refused(void **state)
{
	refused_as(change_nothing, "2001:db8::1", -ENETUNREACH, "connect");
	refused_as(change_nothing, "10.77.0.1", -ENETUNREACH, "connect");
	refused_as(change_interface, FAR4, -ENODEV,
		   "setsockopt(SO_BINDTODEVICE) of bind_interface");
	refused_as(change_address, FAR4, -EADDRNOTAVAIL, "bind to the bind address");
	refused_as(change_family, FAR4, -EAFNOSUPPORT, "transparent_source of another family");
}

/* Mark, interface and source decide whether there is a route. */
static void test_routes(void **state)
{
	static const struct {
		const char *to, *by, *from;
		uint32_t mark;
		int err;
	} cases[] = { { "10.77.0.1", "", NULL, MARK, 0 },
		      { "2001:db8::1", "", NULL, MARK, 0 },
		      { "10.77.0.1", "", "198.51.100.1", 0, 0 },
		      { "10.77.0.1", "", "192.0.2.1", 0, -ENETUNREACH },
		      { "fd00:e::1", "v0", NULL, 0, 0 },
		      { "fd00:e::1", "w0", NULL, 0, -ENETUNREACH } };

	assert_int_equal(system("ip rule add from 198.51.100.1 lookup 100;"
				"ip -6 route add fd00:e::/64 via fd00:a::2"),
			 0);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		size_t n = i / 2;
		const struct addr to = address(cases[n].to, 53);
		struct udp u;

		udp_prepare(&u, &to, i % 2);
		u.a.dialer.options.routing_mark = cases[n].mark;
		snprintf(u.a.dialer.options.bind_interface, IFNAMSIZ, "%s", cases[n].by);
		if (cases[n].from)
			u.a.dialer.options.bind4 = address(cases[n].from, 0);
		if (cases[n].err)
			fails(&u.a, true, cases[n].err, "connect");
		else
			udp_opens(&u);
		udp_clean(&u);
	}
	assert_int_equal(system("ip rule del from 198.51.100.1"), 0);
}

static int dial_name(struct udp *u, enum domain_strategy strategy, const struct addr *resolved,
		     size_t count)
{
	const struct race_dialer race = { .base.ops = &dial_race_ops,
					  .via = &u->a.dialer.base,
					  .strategy = strategy,
					  .attempt_delay_ms = 3000,
					  .fallback_delay_ms = 3000 };
	struct dial_request *request = &u->a.request;
	const char *call = NULL;
	int r;

	request->target.domain = "both.test";
	request->target.resolved = resolved;
	request->target.resolved_count = count;
	request->owner = &u->a;
	request->trace = &u->a.trace;
	rig.env.resolver = (struct resolver *)&rig; /* is not asked */
	r = dial_start(&u->a.dial, &race.base, request, &call);
	if (!r)
		wait_for(&u->a);
	else
		assert_string_equal(call, "connect");
	rig.env.resolver = NULL;
	return r;
}

/* A name whose preferred family leads nowhere is not waited for. */
static void test_dead_family(void **state)
{
	for (int i = 0; i < 4; i++) {
		bool to_v6 = i & 2;
		struct addr to, nowhere = { .family = AF_UNSPEC };
		int server = serve_in(rig.theirs, to_v6 ? FAR6 : FAR4, &to);
		const struct addr resolved[] = { address("2001:db8::1", 0),
						 address("2001:db8::2", 0), address("10.77.0.1", 0),
						 address(to_v6 ? FAR6 : FAR4, 0) };
		struct udp u;

		nowhere.port = to.port;
		udp_prepare(&u, &nowhere, i & 1);
		assert_int_equal(dial_name(&u, to_v6 ? STRATEGY_PREFER_IPV4 : STRATEGY_PREFER_IPV6,
					   resolved, 4),
				 0);
		assert_int_equal(u.a.result.err, 0);
		assert_true(addr_equal(&way_of(&u)->peer, &to));
		assert_in_range(u.a.trace.count, 3, 4);
		for (unsigned j = 0; j + 1 < u.a.trace.count; j++)
			assert_int_equal(u.a.trace.list[j].err, -ENETUNREACH);
		assert_int_equal(u.a.trace.list[u.a.trace.count - 1].err, 0);
		assert_true(u.a.trace.list[u.a.trace.count - 1].start_ms < 1000);
		says(&u, "hello", NULL);
		(void)hears(server, "hello");
		udp_clean(&u);

		udp_prepare(&u, &nowhere, i & 1);
		assert_int_equal(dial_name(&u, STRATEGY_PREFER_IPV6, resolved, 3), -ENETUNREACH);
		udp_clean(&u);
		close(server);
	}
}

/* What reuse_addr is for: others may have the port; but nobody gets one by chance that is taken. */
static void test_shared_port(void **state)
{
	enum { COUNT = 300 };
	static uint8_t taken[65536];
	static struct udp list[COUNT];
	struct addr to, local;
	int server = serve_in(rig.theirs, FAR4, &to), other;

	memset(taken, 0, sizeof(taken));
	for (int i = 0; i < COUNT; i++) {
		udp_prepare(&list[i], &to, i & 1);
		list[i].a.dialer.options.reuse_addr = true;
		udp_opens(&list[i]);
		assert_int_equal(sock_local_addr(list[i].fd, &local), 0);
		assert_true(local.port && !taken[local.port]);
		taken[local.port] = 1;
	}
	other = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(sock_set_reuse(other), 0);
	assert_int_equal(sock_bind_address(other, &local, false), 0);
	close(other);
	for (int i = 0; i < COUNT; i++)
		udp_clean(&list[i]);
	close(server);
}

/* Not bound to the interface that it should be bound to, it reaches nobody else. */
static void test_loopback_is_one_peer(void **state)
{
	struct addr to, far;
	int server = serve_in(NULL, "127.0.0.1", &to), theirs = serve_in(rig.theirs, FAR4, &far);
	struct datagram_sent sent;
	struct udp u;

	udp_prepare(&u, &to, false);
	strcpy(u.a.dialer.options.bind_interface, "w0");
	udp_opens(&u);
	assert_true(way_of(&u)->bound);
	assert_int_equal(sock_bound_interface(u.fd), 0);
	sent = say(&u, "astray", &far);
	assert_int_equal(sent.failed, 1);
	says(&u, "hello", &to);
	(void)hears(server, "hello");
	udp_clean(&u);
	close(server);
	close(theirs);
}

static void test_cancel(void **state)
{
	for (int i = 0; i < 8; i++) {
		const struct addr to = address(i & 1 ? FAR6 : FAR4, 53);
		unsigned fds = open_fds();
		struct udp u;

		udp_prepare(&u, &to, i & 2);
		assert_int_equal(start(&u.a), 0);
		assert_int_equal(u.a.trace.list[0].err, -EINPROGRESS);
		dial_cancel(TAKE_PTR(u.a.dial), i & 4);
		assert_int_equal(open_fds(), fds);
		assert_int_equal(loop_run_once(&rig.loop, 0), 0);
		assert_int_equal(u.a.done, 0);
		assert_int_equal(u.a.trace.list[0].err, -ECANCELED);
		assert_int_equal(rig.loop.io_count, 0);
		assert_true(timer_wheel_empty(&rig.loop.timers));
		udp_clean(&u);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_request_interface),
		cmocka_unit_test(test_netns),
		cmocka_unit_test(test_transparent),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_dead_family),
		cmocka_unit_test(test_shared_port),
		cmocka_unit_test(test_loopback_is_one_peer),
		cmocka_unit_test(test_cancel),
	};

	return rig_run(tests);
}
