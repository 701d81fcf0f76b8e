/* Which way packets go: policy routing by mark and source, by an interface, and what connect() says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include "kern/route.h"
#include "netns.h"

static struct route_socket routes;

static const char setup[] =
	"ip link set lo up\n"
	"ip link add a0 type veth peer name a1\n"
	"ip link add b0 type veth peer name b1\n"
	"ip link add c0 type veth peer name c1\n"
	"for i in a0 a1 b0 b1 c0 c1; do ip link set $i up || exit 1; done\n"
	"ip addr add 10.1.0.1/24 dev a0\n"
	"ip addr add 10.2.0.1/24 dev b0\n"
	"ip addr add fd01::1/64 dev a0 nodad\n"
	"ip addr add fd02::1/64 dev b0 nodad\n"
	"ip route add default via 10.1.0.2 metric 10\n"
	"ip route add 198.18.0.0/24 via inet6 fe80::9 dev b0\n"
	"ip route add 198.18.1.0/24 dev c0\n"
	"ip route add 198.18.2.0/24 via 10.9.9.9 dev c0 onlink\n"
	"ip -6 route add 2001:db8:6::/48 via fe80::7 dev b0\n"
	"ip -6 route add 2001:db8:7::/48 dev c0\n"
	"ip route add 192.0.2.0/24 nexthop via 10.1.0.2 nexthop via 10.2.0.2\n"
	"ip -6 route add default via fd01::2 metric 10\n"
	"ip -6 route add default via fd02::2 dev b0 metric 20\n"
	"ip -6 route add 2001:db8:1::/48 via fd01::2\n"
	"ip -6 route add 2001:db8:2::/48 nexthop via fd01::2 nexthop via fd02::2\n"
	"ip route add unreachable 203.0.113.0/28\n"
	"ip route add blackhole 203.0.113.16/28\n"
	"ip route add prohibit 203.0.113.32/28\n"
	"ip -6 route add unreachable 2001:db8:3::/48\n"
	"ip -6 route add blackhole 2001:db8:4::/48\n"
	"ip -6 route add prohibit 2001:db8:5::/48\n"
	/* mark 7 and the source 10.2.0.9 leave by b0; mark 8 has nowhere to go */
	"ip addr add 10.2.0.9/24 dev b0\n"
	"ip route add default via 10.2.0.2 table 77\n"
	"ip -6 route add default via fd02::2 table 77\n"
	"ip rule add fwmark 7 table 77\n"
	"ip rule add from 10.2.0.9 table 77\n"
	"ip -6 rule add fwmark 7 table 77\n"
	"ip -6 rule add from fd02::1 to 2001:db8:9::/48 table 77\n"
	"ip rule add fwmark 8 unreachable\n"
	"ip -6 rule add fwmark 8 unreachable\n"
	"ip rule add from 10.1.0.1 fwmark 9 unreachable\n"
	"ip addr add 3fff:0:1::1/64 dev b0 nodad\n"
	"ip -6 rule add pref 100 to 3fff::/32 table 88\n"
	"ip -6 rule add pref 101 to 3fff::/32 unreachable\n";

struct question {
	const char *destination, *source, *interface; /* NULL: none */
	const char *answer;                           /* interface, NULL: @err */
	uint32_t mark;
	int err;
	const char *next; /* hop; NULL: any, "" is none */
};

static int ask(const struct question *q, struct route_answer *ret)
{
	struct route_question question = { .destination = address(q->destination),
					   .source = address(q->source),
					   .mark = q->mark };

	if (q->interface)
		question.interface = (int)if_nametoindex(q->interface);
	return route_ask(&routes, &question, ret);
}

/* A link-local one is told with its interface. */
static bool is_next(const struct question *q, const struct addr *got, int index)
{
	struct addr want = address(*q->next ? q->next : NULL);

	if (want.family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&want.v6))
		want.scope = (uint32_t)index;
	return addr_equal(&want, got);
}

static void check(const struct question *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct question *q = &list[i];
		struct route_answer got = { .interface = -99 };
		int r = ask(q, &got), index = q->answer ? (int)if_nametoindex(q->answer) : -99;
		char text[ADDR_STRLEN];

		if (r != q->err || got.interface != index ||
		    (q->next && !is_next(q, &got.next_hop, index)))
			fail_msg("to %s from %s by %s mark %u: %d, interface %d, next %s",
				 q->destination, q->source ? q->source : "any",
				 q->interface ? q->interface : "any", q->mark, r, got.interface,
				 addr_format(&got.next_hop, text));
	}
}
#define CHECK(...)                                                      \
	do {                                                            \
		static const struct question list_[] = { __VA_ARGS__ }; \
		check(list_, sizeof(list_) / sizeof(*list_));           \
	} while (0)

/* What connect() says to the same; nothing is sent. */
static int connect_error(const struct question *q)
{
	struct addr to = address(q->destination), from = address(q->source);
	int fd = socket(to.family, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;
	struct sockaddr_storage sa;
	socklen_t len;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_MARK, &q->mark, sizeof(q->mark)), 0);
	if (q->interface)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, q->interface,
					    (socklen_t)strlen(q->interface)),
				 0);
	if (q->source) {
		len = addr_to_sockaddr(&from, &sa);
		assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	}
	to.port = 9;
	len = addr_to_sockaddr(&to, &sa);
	r = connect(fd, (struct sockaddr *)&sa, len) ? -errno : 0;
	close(fd);
	return r;
}

static void check_as_connect(const struct question *list, size_t count)
{
	check(list, count);
	for (size_t i = 0; i < count; i++)
		if (connect_error(&list[i]) != list[i].err)
			fail_msg("to %s from %s: connect() says %d", list[i].destination,
				 list[i].source ? list[i].source : "any", connect_error(&list[i]));
}

static void test_ways(void **state)
{
	CHECK({ "198.41.0.4", .answer = "a0" }, { "2001:503:ba3e::2:30", .answer = "a0" },
	      { "10.2.0.77", .answer = "b0" }, { "fd02::77", .answer = "b0" },
	      { "127.0.0.1", .answer = "lo" }, { "::1", .answer = "lo" },
	      { "10.1.0.1", .answer = "lo" }, { "fd01::1", .answer = "lo" });
}

static void test_next_hop(void **state)
{
	CHECK({ "198.41.0.4", .answer = "a0", .next = "10.1.0.2" },
	      { "198.41.0.4", .mark = 7, .answer = "b0", .next = "10.2.0.2" },
	      { "198.41.0.4", "192.168.55.5", "b0", .mark = 7, .answer = "b0", .next = "10.2.0.2" },
	      { "192.0.2.1", .interface = "a0", .answer = "a0", .next = "10.1.0.2" },
	      { "192.0.2.1", .interface = "b0", .answer = "b0", .next = "10.2.0.2" },
	      { "10.2.0.77", .answer = "b0", .next = "10.2.0.77" },
	      { "198.18.0.1", .answer = "b0", .next = "fe80::9" },
	      { "198.18.1.1", .answer = "c0", .next = "198.18.1.1" },
	      { "198.18.2.1", .answer = "c0", .next = "10.9.9.9" },
	      { "2001:503:ba3e::2:30", .answer = "a0", .next = "fd01::2" },
	      { "fd02::77", .answer = "b0", .next = "fd02::77" },
	      { "2001:db8:6::1", .answer = "b0", .next = "fe80::7" },
	      { "2001:db8:7::1", .answer = "c0", .next = "2001:db8:7::1" });
}

/* The best route leads by another interface, and its gateway is nobody there. */
static void test_next_hop_of_an_interface(void **state)
{
	CHECK({ "2001:503:ba3e::2:30", .interface = "b0", .answer = "b0", .next = "fd02::2" },
	      { "2001:503:ba3e::2:30", "fd02::1", "b0", .answer = "b0", .next = "fd02::2" },
	      { "2001:db8:1::1", "fd02::1", "b0", .answer = "b0", .next = "fd02::2" },
	      { "2001:db8:9::1", "fd02::1", "a0", .answer = "a0", .next = "fd01::2" },
	      { "2001:db8:2::1", "fd01::1", "b0", .answer = "b0", .next = "fd02::2" });
}

static void test_mark(void **state)
{
	CHECK({ "198.41.0.4", .mark = 7, .answer = "b0" },
	      { "2001:503:ba3e::2:30", .mark = 7, .answer = "b0" },
	      { "198.41.0.4", .mark = 6, .answer = "a0" },
	      { "2001:503:ba3e::2:30", .mark = 6, .answer = "a0" },
	      { "198.41.0.4", .mark = 8, .err = -ENETUNREACH },
	      { "2001:503:ba3e::2:30", .mark = 8, .err = -ENETUNREACH });
}

static void test_source(void **state)
{
	CHECK({ "198.41.0.4", "10.2.0.1", .answer = "a0" },
	      { "198.41.0.4", "10.2.0.9", .answer = "b0" }, /* by the rule */
	      { "198.41.0.4", "0.0.0.0", .answer = "a0" },
	      { "2001:db8:8::1", "fd02::1", .answer = "a0" },
	      { "2001:db8:9::1", "fd02::1", .answer = "b0" },

	      /* nobody's own (a transparent socket): as if not given */
	      { "198.41.0.4", "192.168.55.5", .answer = "a0" },
	      { "198.41.0.4", "192.168.55.5", .mark = 7, .answer = "b0" },
	      { "198.41.0.4", "192.168.55.5", .mark = 8, .err = -ENETUNREACH },
	      { "198.41.0.4", "192.168.55.5", "b0", .mark = 7, .answer = "b0" },
	      { "2001:db8:8::1", "2001:db8:77::1", .answer = "a0" },
	      /* but a rule for one of our own stays */
	      { "198.41.0.4", "10.1.0.1", .mark = 9, .err = -ENETUNREACH },
	      { "198.41.0.4", "fd02::1", .err = -EAFNOSUPPORT });
}

/* Nothing but a route for some sources, as of an uplink that filters the others. */
static void test_route_of_a_source(void **state)
{
	static const struct question list[] = {
		{ "3fff::1", .answer = "b0" },
		{ "3fff::1", .interface = "b0", .answer = "b0", .next = "fd02::2" },
		{ "3fff::1", .interface = "a0", .err = -ENETUNREACH },
		{ "3fff::1", "3fff:0:1::1", .answer = "b0" },
		{ "3fff::1", "3fff:0:1::1", "b0", .answer = "b0", .next = "fd02::2" },
		{ "3fff::1", "fd01::1", .err = -ENETUNREACH },
		{ "3fff::1", "fd01::1", "b0", .err = -ENETUNREACH },
	};

	if (system("ip -6 route add default from 3fff:0:1::/48 via fd02::2 table 88"))
		skip(); /* CONFIG_IPV6_SUBTREES */
	check_as_connect(list, sizeof(list) / sizeof(*list));
	CHECK({ "3fff::1", "2001:db8:77::1", .err = -ENETUNREACH });
}

static void test_interface(void **state)
{
	CHECK({ "198.41.0.4", .interface = "a0", .answer = "a0" },
	      { "198.41.0.4", .interface = "b0", .mark = 7, .answer = "b0" },
	      { "198.41.0.4", "10.2.0.9", "b0", .answer = "b0" },
	      { "192.0.2.1", .interface = "a0", .answer = "a0" }, /* two next hops */
	      { "192.0.2.1", .interface = "b0", .answer = "b0" },
	      { "2001:db8:2::1", .interface = "a0", .answer = "a0" },
	      { "2001:db8:2::1", .interface = "b0", .answer = "b0" },
	      { "2001:503:ba3e::2:30", .interface = "b0", .answer = "b0" }, /* the worse metric */
	      { "2001:503:ba3e::2:30", "fd02::1", "b0", .answer = "b0" },
	      { "2001:db8:1::1", "fd02::1", "b0", .answer = "b0" }, /* the shorter prefix */
	      { "10.2.0.77", .interface = "b0", .answer = "b0" },
	      { "127.0.0.1", .interface = "lo", .answer = "lo" });
}

static void test_interface_without_route(void **state)
{
	CHECK({ "198.41.0.4", .interface = "b0", .err = -EHOSTUNREACH },
	      { "198.41.0.4", "10.2.0.1", "b0", .err = -EHOSTUNREACH },
	      { "198.41.0.4", .interface = "c0", .err = -EHOSTUNREACH },
	      { "10.1.0.77", .interface = "b0", .err = -EHOSTUNREACH },
	      { "2001:503:ba3e::2:30", .interface = "c0", .err = -ENETUNREACH },
	      { "2001:503:ba3e::2:30", "fd01::1", "c0", .err = -ENETUNREACH });
}

static void test_errors(void **state)
{
	static const struct question list[] = {
		{ "203.0.113.1", .err = -EHOSTUNREACH },
		{ "203.0.113.17", .err = -EINVAL },
		{ "203.0.113.33", .err = -EACCES },
		{ "2001:db8:3::1", .err = -EHOSTUNREACH },
		{ "2001:db8:4::1", .err = -EINVAL },
		{ "2001:db8:5::1", .err = -EACCES },
		{ "2001:db8:5::1", .interface = "c0", .err = -ENETUNREACH },
		{ "198.41.0.4", .mark = 8, .err = -ENETUNREACH },
		{ "2001::2", .mark = 8, .err = -ENETUNREACH },
		{ "203.0.113.17", "10.1.0.1", .err = -EINVAL },
	};

	check_as_connect(list, sizeof(list) / sizeof(*list));
	CHECK({ "203.0.113.17", "192.168.55.5", .err = -EINVAL });
}

/* IPv6 with an interface: sockets that are bound to it, and perhaps to a source. */
static void test_interface_as_connect(void **state)
{
	static const struct question list[] = {
		{ "2001:db8:2::1", NULL, "b0", .answer = "b0" },
		{ "2001:503:ba3e::2:30", NULL, "b0", .answer = "b0" },
		{ "2001:503:ba3e::2:30", "fd02::1", "b0", .answer = "b0" },
		{ "2001:db8:1::1", "fd02::1", "b0", .answer = "b0" },
		{ "2001:db8:9::1", "fd02::1", "a0", .answer = "a0" }, /* against a rule */
		{ "2001:db8:9::1", "fd02::1", "b0", .answer = "b0" },
		{ "2001:503:ba3e::2:30", NULL, "c0", .err = -ENETUNREACH },
		{ "2001:503:ba3e::2:30", "fd01::1", "c0", .err = -ENETUNREACH },
	};

	check_as_connect(list, sizeof(list) / sizeof(*list));
}

static void test_link_local(void **state)
{
	struct route_question question = { .destination = address("fe80::1234") };
	int a0 = (int)if_nametoindex("a0"), b0 = (int)if_nametoindex("b0");
	struct route_answer got = { .interface = -99 };

	assert_int_equal(route_ask(&routes, &question, &got), -EINVAL);
	question.destination.scope = (uint32_t)b0;
	assert_int_equal(route_ask(&routes, &question, &got), 0);
	assert_int_equal(got.interface, b0);
	assert_int_equal(got.next_hop.scope, b0);
	question.interface = a0;
	assert_int_equal(route_ask(&routes, &question, &got), -EINVAL);
	question.destination.scope = 0;
	assert_int_equal(route_ask(&routes, &question, &got), 0);
	assert_int_equal(got.interface, a0);
}

static void test_nonsense(void **state)
{
	struct route_question question = { .destination = { .family = AF_UNSPEC } };
	struct route_answer got = { .interface = -99 };

	assert_int_equal(route_ask(&routes, &question, &got), -EAFNOSUPPORT);
	question.destination = address("198.41.0.4");
	question.interface = 999999;
	assert_int_equal(route_ask(&routes, &question, &got), -ENODEV);
	question.destination = address("2001:db8::1");
	assert_true(route_ask(&routes, &question, &got) < 0);
	assert_int_equal(got.interface, -99);
}

/* An answer that nobody took is not the answer to the next question. */
static void test_stale_answers(void **state)
{
	struct {
		struct nlmsghdr header;
		struct rtmsg route;
		struct rtattr attribute;
		uint32_t destination;
	} question = { .header = { .nlmsg_len = sizeof(question),
				   .nlmsg_type = RTM_GETROUTE,
				   .nlmsg_flags = NLM_F_REQUEST,
				   .nlmsg_seq = 0x7fffffff },
		       .route = { .rtm_family = AF_INET, .rtm_dst_len = 32 },
		       .attribute = { .rta_len = RTA_LENGTH(4), .rta_type = RTA_DST },
		       .destination = address("10.2.0.77").v4.s_addr };

	for (int i = 0; i < 5; i++)
		assert_int_equal(send(routes.fd, &question, sizeof(question), 0), sizeof(question));
	CHECK({ "198.41.0.4", .answer = "a0" }, { "10.2.0.77", .answer = "b0" });
}

static void test_no_descriptor_left(void **state)
{
	struct route_socket socket;
	unsigned fds = open_fds();

	assert_int_equal(route_socket_init(&socket), 0);
	assert_int_equal(open_fds(), fds + 1);
	route_socket_deinit(&socket);
	route_socket_deinit(&socket);
	assert_int_equal(socket.fd, -1);
	assert_int_equal(open_fds(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ways),
		cmocka_unit_test(test_next_hop),
		cmocka_unit_test(test_next_hop_of_an_interface),
		cmocka_unit_test(test_mark),
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_route_of_a_source),
		cmocka_unit_test(test_interface),
		cmocka_unit_test(test_interface_without_route),
		cmocka_unit_test(test_interface_as_connect),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_link_local),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_stale_answers),
		cmocka_unit_test(test_no_descriptor_left),
	};
	int r;

	if (!enter_netns())
		return skipped("no network namespace of our own (CAP_SYS_ADMIN)");
	if (!run(setup))
		return skipped("the ip command cannot make veth interfaces and rules");
	if (route_socket_init(&routes))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	route_socket_deinit(&routes);
	return r;
}
