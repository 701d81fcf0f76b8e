/* Real connections are relayed by a loop of ours until their packets take them over: each byte must come
 * through, both ways, to the last; or the reason why they are not taken must be the right one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/mount.h>
#include "kern/packet_object.h"
#include "net/sock.h"
#include "packet_lab.h"

#define BYTES   (6U << 20)
#define FOREVER (1ULL << 40)
#define LINGER  50

struct scene {
	const char *name;
	int family;
	const char *client_if, *router; /* NULL: r0; number of the client's net */
	const char *prepare;            /* commands, NULL: none */
	const char *server_sysctl, *client_sysctl;
	int why;     /* it must never be taken, for this reason; 0: it is taken */
	bool killed; /* once taken */
	bool survives;
	int resets;       /* 1: the client, 2: the server, once taken */
	bool owes;        /* user space says that it has a byte left */
	bool told;        /* the next hops, which are the hosts */
	const char *late; /* commands, once taken */
};

static struct packet *packet;
static const char pins[] = "/sys/fs/bpf/seam_unit_packet";

static struct addr net_address(const struct scene *scene, const char *net, int host)
{
	char text[64];
	struct addr addr;

	if (scene->family == AF_INET)
		snprintf(text, sizeof(text), "10.71.%s.%d", net, host);
	else
		snprintf(text, sizeof(text), "fd71:%s::%d", net, host);
	addr = address(text);
	addr.port = TALK_PORT;
	return addr;
}

static int listen_at(const struct addr *addr)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(addr, &sa);
	int fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return bind(fd, (struct sockaddr *)&sa, len) || listen(fd, 8) ? -1 : fd;
}

static int connect_to(const struct addr *addr)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(addr, &sa);
	int fd = socket(addr->family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (int i = 0; i < 100; i++) {
		if (!connect(fd, (struct sockaddr *)&sa, len))
			return fd;
		pause_ms(20);
	}
	return -1;
}

static bool set_sysctl(const char *text, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", text);
	return write_text(path, value);
}

/* "name=value" for the time of the scene, in the namespace that the process is in. */
static void apply(const char *sysctl)
{
	char name[64];

	if (!sysctl)
		return;
	snprintf(name, sizeof(name), "%s", sysctl);
	*strchr(name, '=') = '\0';
	if (!set_sysctl(name, strchr(sysctl, '=') + 1))
		_exit(9);
}

/* Before the hosts have said all. */
static bool is_cut(const struct scene *scene)
{
	return scene->killed || scene->resets;
}

static pid_t start(const struct scene *scene, int side)
{
	struct addr at = side ? net_address(scene, "2", 2) : net_address(scene, scene->router, 1);
	pid_t pid = fork();
	int fd, listener;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!enter_ns(side ? SERVER_NS : CLIENT_NS))
		_exit(8);
	apply("tcp_timestamps=1");
	apply("tcp_sack=1");
	apply("tcp_ecn=2");
	apply("tcp_window_scaling=1");
	apply(side ? scene->server_sysctl : scene->client_sysctl);
	if (side) {
		listener = listen_at(&at);
		fd = accept(listener, NULL, NULL);
	} else {
		fd = connect_to(&at);
	}
	_exit(fd < 0 ? 7
		     : talk(fd, side, is_cut(scene) ? FOREVER : BYTES, BYTES / 2,
			    scene->resets == side + 1 ? BYTES : 0));
}

static void describe(int fd, struct packet_end *ret)
{
	assert_int_equal(sock_peer_addr(fd, &ret->remote), 0);
	assert_int_equal(sock_local_addr(fd, &ret->local), 0);
}

static struct packet_pair add_pair(const struct scene *scene, const int fd[2])
{
	struct packet_spec spec = { .protocol = IPPROTO_TCP };
	struct packet_pair pair;
	int on = 1;

	for (int i = 0; i < 2; i++) {
		describe(fd[i], &spec.end[i]);
		if (scene->told)
			spec.end[i].next_hop = spec.end[i].remote;
		spec.end[i].interface = (int)if_nametoindex(i ? "r1" : scene->client_if);
		setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	assert_int_equal(packet_add(packet, &spec, &pair), 0);
	return pair;
}

static int unacked(int fd)
{
	int bytes = -1;

	ioctl(fd, SIOCOUTQ, &bytes);
	return bytes;
}

/* 1: something moved, 0: nothing, -1: an end. */
static int copy(const int fd[2], bool ended[2])
{
	static uint8_t data[65536];
	int moved = 0;

	for (int i = 0; i < 2; i++) {
		ssize_t n = ended[i] ? -1 : recv(fd[i], data, sizeof(data), MSG_DONTWAIT);

		if (n > 0) {
			assert_int_equal(send(fd[!i], data, (size_t)n, MSG_NOSIGNAL), n);
			moved = 1;
		} else if (!n) {
			ended[i] = true;
			shutdown(fd[!i], SHUT_WR);
		}
	}
	return moved;
}

/* Until it is taken, or has ended: the reasons why it was not. */
static uint32_t relay(const struct scene *scene, const struct packet_pair *pair, const int fd[2])
{
	const uint32_t owed[2] = { scene->owes, 0 };
	bool ended[2] = { false, false };
	uint64_t seen = 0;
	uint32_t why = 0;

	while (!ended[0] || !ended[1]) {
		struct pollfd fds[2] = { { ended[0] ? -1 : fd[0], POLLIN, 0 },
					 { ended[1] ? -1 : fd[1], POLLIN, 0 } };
		uint64_t now = packet_seen(pair);

		if (packet_state(pair) == SEAM_PACKET_TAKEN)
			return 0;
		if (packet_state(pair) == SEAM_PACKET_MISSED) {
			why |= packet_why(pair);
			packet_disarm(pair);
		}
		if (copy(fd, ended) || unacked(fd[0]) || unacked(fd[1])) {
			poll(fds, 2, 1);
			continue;
		}
		if (now == seen && packet_state(pair) == SEAM_PACKET_OFF && !ended[0] && !ended[1])
			(void)packet_arm(pair, fd, now, owed);
		seen = now;
		poll(fds, 2, 4);
	}
	return why;
}

static int status_of(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static void load_packet(void)
{
	char reason[PACKET_REASON_MAX];

	if (packet_load(&packet, 16, pins, reason))
		fail_msg("%s", reason);
}

/* As if the process had been killed, and another started later. */
static void restart(struct packet_pair *pair, const int fd[2])
{
	close(fd[0]);
	close(fd[1]);
	packet_free(packet, true);
	pause_ms(20);
	load_packet();
	assert_int_equal(packet_next(packet, 0, pair, NULL), 0);
}

static void follow(const struct scene *scene, struct packet_pair *pair, const int fd[2])
{
	struct packet_stats stats;
	int on = 1;

	for (int i = 0; i < 2; i++)
		assert_int_equal(setsockopt(fd[i], IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)), 0);
	if (scene->late)
		assert_true(run(scene->late));
	if (scene->survives)
		restart(pair, fd);
	if (scene->killed) {
		close(fd[0]);
		close(fd[1]);
		assert_int_equal(packet_kill(pair), 0);
		return;
	}
	for (int i = 0; i < 1000 && !packet_ended(pair); i++)
		pause_ms(10);
	assert_true(packet_ended(pair));
	pause_ms(LINGER);
	packet_stats(pair, &stats);
	for (int i = 0; i < 2; i++) {
		if (!is_cut(scene))
			assert_in_range(stats.bytes[i], BYTES / 4, 2 * BYTES);
		assert_int_equal(stats.dropped[i], 0);
	}
	packet_remove(pair);
}

static void play(const struct scene *scene)
{
	struct addr at = net_address(scene, scene->router, 1);
	int listener = listen_at(&at), fd[2];
	pid_t server = start(scene, 1), client = start(scene, 0);
	struct addr to = net_address(scene, "2", 2);
	struct packet_pair pair;
	bool taken;
	uint32_t why;

	assert_true(listener >= 0);
	fd[0] = accept(listener, NULL, NULL);
	close(listener);
	fd[1] = connect_to(&to);
	assert_true(fd[0] >= 0 && fd[1] >= 0);
	pair = add_pair(scene, fd);
	why = relay(scene, &pair, fd);
	taken = packet_state(&pair) == SEAM_PACKET_TAKEN;
	if (taken)
		follow(scene, &pair, fd);
	if (taken != !scene->why || (!taken && !(why & 1U << scene->why)))
		fail_msg("%s: taken %d, why 0x%x, %u packets seen from sides 0x%x", scene->name,
			 taken, why, (unsigned)packet_seen(&pair), pair.shared->from);
	if (!taken)
		packet_remove(&pair);
	close(fd[0]);
	close(fd[1]);
	for (int i = 0; i < 2; i++) {
		int status = status_of(i ? server : client);

		if (status != (is_cut(scene) && scene->resets != i + 1 ? RESET : 0))
			fail_msg("%s: %s says %d", scene->name, i ? "server" : "client", status);
	}
}

static void play_both(struct scene scene)
{
	if (!scene.client_if) {
		scene.client_if = "r0";
		scene.router = "1";
	}
	for (int six = 0; six < 2; six++) {
		if (scene.prepare && !run(scene.prepare))
			skip();
		scene.family = six ? AF_INET6 : AF_INET;
		play(&scene);
	}
}
#define PLAY(...) play_both((struct scene){ .name = __VA_ARGS__ })

static void test_plain(void **state)
{
	PLAY("plain");
}

/* The better route to the server leads by another interface, where nobody is. */
static void test_next_hop(void **state)
{
	PLAY("next hop", .told = true);
	play(&(struct scene){ .name = "better route",
			      .family = AF_INET,
			      .client_if = "r0",
			      .router = "1",
			      .told = true,
			      .late = "ip route add 10.71.2.2 via 10.71.1.9 dev r0" });
	assert_true(run("ip route del 10.71.2.2"));
	play(&(struct scene){ .name = "better route",
			      .family = AF_INET6,
			      .client_if = "r0",
			      .router = "1",
			      .told = true,
			      .late = "ip -6 route add fd71:2::2 via fd71:1::9 dev r0" });
	assert_true(run("ip -6 route del fd71:2::2"));
}

static void test_no_options(void **state)
{
	PLAY("no timestamps", .client_sysctl = "tcp_timestamps=0",
	     .server_sysctl = "tcp_timestamps=0");
	PLAY("no sack", .client_sysctl = "tcp_sack=0", .server_sysctl = "tcp_sack=0");
	PLAY("no window scale on one side", .client_sysctl = "tcp_window_scaling=0");
}

static void test_refused(void **state)
{
	PLAY("timestamps on one side", .client_sysctl = "tcp_timestamps=0",
	     .why = SEAM_WHY_TIMESTAMP);
	PLAY("sack on one side", .server_sysctl = "tcp_sack=0", .why = SEAM_WHY_SACK);
	PLAY("mtu", .prepare = "ip link set r1 mtu 1400", .why = SEAM_WHY_MSS);
	PLAY("less than timestamps", .prepare = "ip link set r1 mtu 1492", .why = SEAM_WHY_MSS);
	PLAY("no timestamps", .prepare = "ip link set r1 mtu 1492",
	     .client_sysctl = "tcp_timestamps=0", .server_sysctl = "tcp_timestamps=0",
	     .why = SEAM_WHY_MSS);
	assert_true(run("ip link set r1 mtu 1500"));
}

static void test_congestion(void **state)
{
	PLAY("ecn on one side", .client_sysctl = "tcp_ecn=1");
}

static void test_owed(void **state)
{
	PLAY("a byte is owed", .owes = true, .why = SEAM_WHY_OWED);
}

static void test_reset(void **state)
{
	PLAY("the client resets", .resets = 1);
	PLAY("the server resets", .resets = 2);
}

static void test_killed(void **state)
{
	PLAY("killed", .killed = true);
	PLAY("killed after a restart", .killed = true, .survives = true);
}

static void test_restart(void **state)
{
	PLAY("restart", .survives = true);
}

/* Kernels before 6.6. */
static void test_clsact(void **state)
{
	packet_free(packet, false);
	load_packet();
	packet->no_tcx = true;
	PLAY("clsact");
	assert_true(run("tc filter show dev r0 ingress | grep -q seam_ether"));
	PLAY("clsact, restart", .survives = true);
	packet_free(packet, false);
	assert_false(run("tc filter show dev r0 ingress | grep seam_"));
	load_packet();
}

static void test_interfaces(void **state)
{
	struct netif list[] = { { .index = (int)if_nametoindex("r1") } };
	struct netif_list left = { .refs = 1, .count = 1, .list = list };
	size_t before;

	PLAY("plain");
	before = packet->hook_count;
	assert_in_range(before, 2, 4);
	packet_interfaces(packet, &left);
	assert_int_equal(packet->hook_count, 1);
	assert_int_equal(packet_attach(packet, list[0].index), 0);
	assert_int_equal(packet->hook_count, 1);
	PLAY("attached again");
}

static void test_vlan(void **state)
{
	if (!make_vlan())
		skip();
	PLAY("VLAN", .client_if = "r0.7", .router = "7");
}

static void test_tun(void **state)
{
	if (!make_tun())
		skip();
	PLAY("tun", .client_if = "rt0", .router = "8");
	PLAY("tun, next hop", .client_if = "rt0", .router = "8", .told = true);
	packet_free(packet, false);
	load_packet();
	packet->no_tcx = true;
	PLAY("tun, clsact", .client_if = "rt0", .router = "8");
}

static void test_offloads(void **state)
{
	if (!run("ethtool --version >/dev/null 2>&1"))
		skip();
	PLAY("no TSO", .prepare = "ethtool -K r0 tso off gso off; ethtool -K r1 gro on");
	PLAY("no checksums", .prepare = "ethtool -K r0 tx off rx off; ethtool -K r1 tx off");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),      cmocka_unit_test(test_next_hop),
		cmocka_unit_test(test_no_options), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_killed),     cmocka_unit_test(test_owed),
		cmocka_unit_test(test_reset),      cmocka_unit_test(test_clsact),
		cmocka_unit_test(test_interfaces), cmocka_unit_test(test_restart),
		cmocka_unit_test(test_vlan),       cmocka_unit_test(test_tun),
		cmocka_unit_test(test_offloads),   cmocka_unit_test(test_congestion),
	};
	char reason[PACKET_REASON_MAX];
	int r;

	if (!enter_netns() || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"))
		return skipped("no namespaces and bpffs of our own (CAP_SYS_ADMIN)");
	r = packet_load(&packet, 16, pins, reason);
	if (r)
		return r == -EPERM ? skipped(reason) : (puts(reason), 1);
	if (!make_lab()) {
		leave_lab();
		return skipped("the ip command cannot make veth interfaces");
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	packet_free(packet, false);
	leave_lab();
	return r;
}
