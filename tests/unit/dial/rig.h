/* rig - for the tests of dials: two network namespaces, joined by two links, and a loop to dial from.
 *
 *   ours: v0 192.0.2.1 fd00:a::1  ---- v1 192.0.2.2 fd00:a::2  theirs, and on its loopback
 *         w0 198.51.100.1 fd00:b::1 -- w1 198.51.100.2 fd00:b::2  203.0.113.1 fd00:f::1
 *
 * The way to 203.0.113.1 and fd00:f::1 is v0; w0 for the mark 7. Nobody answers at 192.0.2.77.
 */
#pragma once
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "../net/common.h"
#include "base/cleanup.h"
#include "dial/direct.h"
#include "dial/packet.h"
#include "kern/interfaces.h"
#include "kern/route.h"
#include "net/netns.h"
#include "net/sock.h"

#define FAR4  "203.0.113.1"
#define FAR6  "fd00:f::1"
#define SLOW4 "192.0.2.77"
#define MARK  7

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

struct rig {
	struct loop loop;
	struct netns *theirs;
	struct dial_env env;
	int theirs_fd;
	char theirs_path[64];
};

static struct rig rig;

static struct {
	unsigned asked;
	struct route_question question;
	int err, interface;
} routes;

/* The kernel's answers, as the tests want them; weak, should the real one be linked as well. */
__attribute__((weak)) int route_ask(struct route_socket *socket,
				    const struct route_question *question, struct route_answer *ret)
{
	routes.asked++;
	routes.question = *question;
	if (!routes.err)
		*ret = (struct route_answer){ .interface = routes.interface };
	return routes.err;
}

__attribute__((weak)) const struct netif *netif_by_index(const struct netif_list *list, int index)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->list[i].index == index)
			return &list->list[i];
	return NULL;
}

static inline bool run_all(const char *const *commands)
{
	for (; *commands; commands++)
		if (system(*commands)) {
			(void)fprintf(stderr, "%s\n", *commands);
			return false;
		}
	return true;
}

/* Somebody who stays in the present namespace, to name it by. */
static inline pid_t leave_child(void)
{
	pid_t child = fork();

	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static inline bool link_up(pid_t theirs)
{
	static const char *const ours_up[] = {
		"ip link set v0 up; ip link set w0 up",
		"ip addr add 192.0.2.1/24 dev v0; ip addr add fd00:a::1/64 dev v0 nodad",
		"ip addr add 198.51.100.1/24 dev w0; ip addr add fd00:b::1/64 dev w0 nodad",
		"ip addr add 10.9.0.1/32 dev lo",
		"ip route add 203.0.113.0/24 via 192.0.2.2 metric 1",
		"ip route add 203.0.113.0/24 via 198.51.100.2 metric 2",
		"ip -6 route add fd00:f::/64 via fd00:a::2 metric 1",
		"ip -6 route add fd00:f::/64 via fd00:b::2 metric 2",
		"ip rule add fwmark 7 lookup 100; ip -6 rule add fwmark 7 lookup 100",
		"ip route add default via 198.51.100.2 table 100",
		"ip -6 route add default via fd00:b::2 table 100",
		/* Answers to clients: as with TPROXY, ours when they come in, and only then. */
		"ip rule add iif v0 lookup 101; ip -6 rule add iif v0 lookup 101",
		"ip route add local 10.1.2.0/24 dev lo table 101",
		"ip -6 route add local fd00:c::/64 dev lo table 101", NULL
	};
	static const char *const theirs_up[] = {
		"ip link set v1 up; ip link set w1 up",
		"ip addr add 192.0.2.2/24 dev v1; ip addr add fd00:a::2/64 dev v1 nodad",
		"ip addr add 198.51.100.2/24 dev w1; ip addr add fd00:b::2/64 dev w1 nodad",
		"ip addr add 203.0.113.1/32 dev lo; ip addr add fd00:f::1/128 dev lo nodad",
		"ip route add 10.1.2.0/24 via 192.0.2.1",
		"ip -6 route add fd00:c::/64 via fd00:a::1",
		"sysctl -qw net.ipv4.tcp_fastopen=3",
		NULL
	};
	char add[160];
	int ours_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	bool ok;

	snprintf(add, sizeof(add),
		 "ip link add v0 type veth peer name v1 netns %d && "
		 "ip link add w0 type veth peer name w1 netns %d",
		 (int)theirs, (int)theirs);
	ok = !system(add) && run_all(ours_up) && !setns(rig.theirs_fd, CLONE_NEWNET) &&
	     run_all(theirs_up) && !setns(ours_fd, CLONE_NEWNET);
	close(ours_fd);
	return ok;
}

/* False: it takes root, ip and veth. */
static inline bool rig_init(void)
{
	const char *call;
	pid_t child;
	bool ok;

	if (!enter_new_namespace())
		return false;
	rig.theirs_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(rig.theirs_path, sizeof(rig.theirs_path), "/proc/self/fd/%d", rig.theirs_fd);
	child = leave_child();
	ok = child > 0 && enter_new_namespace() && link_up(child) &&
	     !netns_new(&rig.theirs, rig.theirs_path, &call);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	if (!ok || loop_init(&rig.loop))
		return false;
	rig.env.loop = &rig.loop;
	return true;
}

static inline void rig_deinit(void)
{
	netns_free(rig.theirs);
	loop_deinit(&rig.loop);
	close(rig.theirs_fd);
}

/* A server in @netns, NULL: ours, and its address with the port. */
static inline int listen_in(struct netns *netns, const char *text, int protocol, struct addr *ret)
{
	const struct addr addr = address(text, 0);
	int fd = netns_socket(netns, addr.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			      protocol);

	assert_true(fd >= 0);
	assert_int_equal(sock_bind_address(fd, &addr, false), 0);
	assert_int_equal(listen(fd, 4096), 0);
	assert_int_equal(sock_local_addr(fd, ret), 0);
	return fd;
}

/* A dial and what came of it. */
struct attempt {
	struct direct_dialer dialer;
	struct dial_request request;
	struct trace trace;
	struct dial *dial;
	struct dial_result result;
	struct loop_io io; /* taken */
	unsigned done;
	bool leave; /* does not take the io */
};

static inline void no_events(struct loop_io *io)
{
	loop_io_want(io, 0);
}

static inline void on_dialed(void *owner, const struct dial_result *result)
{
	struct attempt *a = owner;

	assert_int_equal(a->done, 0);
	a->done++;
	a->result = *result;
	a->dial = NULL;
	assert_true(!result->io || !result->packet);
	if (result->io && !a->leave)
		assert_int_equal(loop_io_move(&a->io, result->io, no_events), 0);
}

static inline void prepare(struct attempt *a, const struct addr *to)
{
	*a = (struct attempt){
		.dialer = { .base.ops = &dial_direct_ops, .connect_timeout_ms = 5000 },
		.request = { .env = &rig.env, .target.addr = *to, .done = on_dialed },
		.io = LOOP_IO_NULL
	};
	trace_init(&a->trace, rig.loop.now_ms);
}

static inline int start(struct attempt *a)
{
	const char *call = NULL;
	int r;

	a->request.owner = a;
	a->request.trace = &a->trace;
	r = dial_start(&a->dial, &a->dialer.base, &a->request, &call);
	assert_int_equal(a->done, 0);
	if (r)
		a->result = (struct dial_result){ .err = r, .call = call };
	return r;
}

static inline void wait_for(struct attempt *a)
{
	for (uint64_t until = rig.loop.now_ms + 10000; !a->done;) {
		assert_int_equal(loop_run_once(&rig.loop, 1000), 0);
		if (rig.loop.now_ms > until)
			fail_msg("nothing came of it");
	}
}

static inline void connects(struct attempt *a)
{
	char buf[256];

	if (start(a))
		fail_msg("%s: %s", a->result.call, strerror(-a->result.err));
	wait_for(a);
	if (a->result.err)
		fail_msg("%s", trace_format(&a->trace, buf, sizeof(buf)));
	assert_null(a->result.call);
	assert_int_equal(a->trace.count, 1);
	assert_int_equal(a->trace.list[0].err, 0);
	assert_true(addr_equal(&a->trace.list[0].addr, &a->request.target.addr));
}

/* Now, or when it was dialed; with what was said. */
static inline void fails(struct attempt *a, bool at_once, int err, const char *call)
{
	int r = start(a);

	if (at_once) {
		assert_int_equal(r, err);
		assert_null(a->dial);
	} else {
		assert_int_equal(r, 0);
		wait_for(a);
	}
	assert_int_equal(a->result.err, err);
	assert_string_equal(a->result.call, call);
	assert_null(a->result.io);
	assert_null(a->result.packet);
	assert_int_equal(a->trace.count, 1);
	assert_int_equal(a->trace.list[0].err, err);
	assert_string_equal(a->trace.list[0].why, call);
}

static inline void clean(struct attempt *a)
{
	dial_cancel(TAKE_PTR(a->dial), false);
	loop_io_close(&a->io);
	packet_close(TAKE_PTR(a->result.packet));
	trace_deinit(&a->trace);
}

/* Who is there, as the server sees it. */
static inline int accepted(int listener, struct addr *ret_peer)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(sock_peer_addr(fd, ret_peer), 0);
	return fd;
}

#define rig_run(tests) rig_run_group(#tests, tests, sizeof(tests) / sizeof(*(tests)))

/* For main(): what it returns. */
static inline int rig_run_group(const char *name, const struct CMUnitTest *tests, size_t count)
{
	unsigned fds = open_fds();
	int failed;

	if (!rig_init())
		return SKIP;
	failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
	rig_deinit();
	if (!failed && open_fds() != fds) {
		(void)fprintf(stderr, "%u descriptors before, %u after\n", fds, open_fds());
		return 1;
	}
	return failed;
}
