/* The list of interfaces, and that it follows what happens to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <net/if_arp.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "base/clock.h"
#include "kern/interfaces.h"
#include "kern/interfaces_type.h"
#include "netns.h"

#define MARK      7
#define FOLLOW_MS 500
#define QUIET_MS  350 /* longer than the monitor waits */

static struct loop loop;
static struct netif_monitor *monitor;
static unsigned changes;
static struct netif_list *told;

static char bond[] = "wwan9";
static struct config_interface overrides[] = { { bond, TYPE_WIFI } };
static const struct config config = { .interfaces = overrides, .interface_count = 1 };

static const char make[] = "ip link set lo up\n"
			   "ip link add a0 type veth peer name a1\n"
			   "ip link add b0 type veth peer name b1\n"
			   "ip link add wlan7 type veth peer name wwan3\n"
			   "ip link add wwan9 type veth peer name rmnet_data0\n"
			   "ip link add tun7 type veth peer name c1\n"
			   "for i in a0 a1 b0 b1 c1; do ip link set $i up || exit 1; done\n"
			   "ip link set a0 mtu 1400\n"
			   "ip addr add 10.1.0.1/24 dev a0\n"
			   "ip addr add 10.1.0.2 peer 10.9.9.9/32 dev a0\n"
			   "ip addr add fd01::1/64 dev a0 nodad\n"
			   "ip addr add 10.2.0.1/24 dev b0\n"
			   "ip addr add fd02::1/64 dev b0 nodad\n"
			   "ip route add default via 10.1.0.9\n"
			   "ip -6 route add default via fd01::9\n"
			   "ip route add default via 10.2.0.9 table 77\n"
			   "ip -6 route add default via fd02::9 table 77\n";

static void on_change(void *owner, struct netif_list *list)
{
	assert_ptr_equal(owner, &changes);
	assert_ptr_equal(list, netif_monitor_list(monitor));
	told = list;
	changes++;
}

static const struct netif_watcher watcher = { .changed = on_change, .owner = &changes };

static const struct netif *named(const char *name)
{
	const struct netif_list *list = netif_monitor_list(monitor);

	for (size_t i = 0; i < list->count; i++)
		if (!strcmp(list->list[i].name, name))
			return &list->list[i];
	return NULL;
}

static bool has(const char *text)
{
	struct addr addr = address(text);

	return netif_has_address(netif_monitor_list(monitor), &addr);
}

/* How often the loop woke up. */
static unsigned pass_ms(uint64_t ms)
{
	uint64_t end = clock_ms() + ms;
	unsigned turns = 0;

	for (uint64_t now = clock_ms(); now < end; now = clock_ms()) {
		assert_int_equal(loop_run_once(&loop, (int)(end - now)), 0);
		turns++;
	}
	return turns;
}

/* Does @lines and waits until @condition() holds, or FOLLOW_MS. */
#define FOLLOW(lines, condition)                                       \
	do {                                                           \
		assert_true(run(lines));                               \
		uint64_t end_ = clock_ms() + FOLLOW_MS;                \
		while (!(condition) && clock_ms() < end_)              \
			assert_int_equal(loop_run_once(&loop, 20), 0); \
		if (!(condition))                                      \
			fail_msg("%s: not followed", lines);           \
		assert_ptr_equal(told, netif_monitor_list(monitor));   \
	} while (0)

/* Each test has a namespace of its own, without link-local addresses that come when DAD is over. */
static int set_up(void **state)
{
	char reason[256] = "";

	changes = 0;
	told = NULL;
	if (unshare(CLONE_NEWNET) ||
	    !write_text("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1") || !run(make) ||
	    loop_init(&loop))
		return -1;
	if (netif_monitor_new(&monitor, &loop, &config, MARK, &watcher, reason)) {
		fprintf(stderr, "%s\n", reason);
		return -1;
	}
	return 0;
}

static int tear_down(void **state)
{
	netif_monitor_free(monitor);
	loop_deinit(&loop);
	return 0;
}

static void test_first_list(void **state)
{
	const struct netif_list *list = netif_monitor_list(monitor);
	const struct netif *a0 = named("a0"), *lo = named("lo"), *tun = named("tun7");

	assert_int_equal(list->count, 11);
	for (size_t i = 1; i < list->count; i++)
		assert_true(list->list[i - 1].index < list->list[i].index);
	assert_int_equal(a0->index, if_nametoindex("a0"));
	assert_ptr_equal(netif_by_index(list, a0->index), a0);
	assert_null(netif_by_index(list, 0));
	assert_null(netif_by_index(list, 99999));
	assert_string_equal(a0->kind, "veth");
	assert_int_equal(a0->mtu, 1400);
	assert_true(a0->up && a0->running && !a0->loopback);
	assert_true(a0->default4 && a0->default6);
	assert_true(lo->loopback && lo->up && !lo->default4 && !lo->default6);
	assert_true(!tun->up && !tun->running);
	assert_int_equal(changes, 0);
}

static void test_addresses(void **state)
{
	const struct netif *a0 = named("a0");

	assert_int_equal(a0->address_count, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(a0->addresses[i].addr.port, 0);
		assert_int_equal(a0->addresses[i].addr.scope, 0);
	}
	assert_int_equal(a0->addresses[0].addr.v4.s_addr, address("10.1.0.1").v4.s_addr);
	assert_int_equal(a0->addresses[0].bits, 24);
	assert_int_equal(a0->addresses[1].bits, 32);
	assert_int_equal(a0->addresses[2].bits, 64);
	assert_true(has("10.1.0.1") && has("10.1.0.2") && has("fd01::1") && has("10.2.0.1"));
	assert_true(has("127.0.0.1") && has("::1"));
	assert_false(has("10.9.9.9")); /* the peer's */
	assert_false(has("10.1.0.3"));
	assert_false(has(NULL));
}

static void test_types(void **state)
{
	assert_int_equal(named("a0")->type, TYPE_ETHERNET);
	assert_int_equal(named("lo")->type, TYPE_OTHER);
	assert_int_equal(named("wlan7")->type, TYPE_WIFI);
	assert_int_equal(named("wwan3")->type, TYPE_CELLULAR);
	assert_int_equal(named("rmnet_data0")->type, TYPE_CELLULAR);
	assert_int_equal(named("wwan9")->type, TYPE_WIFI); /* by the configuration */
	FOLLOW("ip link set wlan7 name eth7", named("eth7"));
	assert_int_equal(named("eth7")->type, TYPE_ETHERNET);
}

static void test_address_comes_and_goes(void **state)
{
	FOLLOW("ip addr add 10.3.0.1/24 dev c1", has("10.3.0.1"));
	FOLLOW("ip addr del 10.3.0.1/24 dev c1", !has("10.3.0.1"));
	FOLLOW("ip addr add fd03::1/64 dev c1 nodad", has("fd03::1"));
	FOLLOW("ip addr del fd03::1/64 dev c1", !has("fd03::1"));
}

static void test_tentative(void **state)
{
	assert_true(run("ip addr add fd01::77/64 dev a0"));
	pass_ms(QUIET_MS);
	assert_false(has("fd01::77"));
	pass_ms(2500); /* one probe takes a second, and there is a random delay before */
	assert_true(has("fd01::77"));
	assert_true(run("ip addr add fd01::77/64 dev a1"));
	pass_ms(2500);
	assert_int_equal(named("a1")->address_count, 0); /* it is a0's */
}

static void test_link(void **state)
{
	FOLLOW("ip link set b1 down", !named("b0")->running);
	assert_true(named("b0")->up);
	FOLLOW("ip link set b1 up", named("b0")->running);
	FOLLOW("ip link set b0 mode dormant state dormant", !named("b0")->running);
	FOLLOW("ip link set b0 mode default state up", named("b0")->running);
	FOLLOW("ip link set b0 down", !named("b0")->up);
	assert_false(named("b0")->running);
	FOLLOW("ip link set b0 up", named("b0")->running);
	assert_true(named("c1")->up && !named("c1")->running); /* its peer is down */
	FOLLOW("ip link set c1 down", !named("c1")->up);
	FOLLOW("ip link set b0 mtu 1300", named("b0")->mtu == 1300);
	FOLLOW("ip link set b0 down\nip link set b0 name b9\nip link set b9 up", named("b9"));
	FOLLOW("ip link del b9", !named("b9") && !named("b1"));
	assert_false(has("10.2.0.1"));
	FOLLOW("ip link add b0 type veth peer name b1", named("b0") && named("b1"));
}

static void test_default_by_mark(void **state)
{
	FOLLOW("ip rule add fwmark 7 table 77", named("b0")->default4);
	assert_true(!named("a0")->default4 && named("a0")->default6 && !named("b0")->default6);
	FOLLOW("ip -6 rule add fwmark 7 table 77", named("b0")->default6);
	assert_false(named("a0")->default6);
	FOLLOW("ip route change default via 10.1.0.9 table 77", named("a0")->default4);
	FOLLOW("ip route replace default via 10.2.0.9 table 77", named("b0")->default4);
	FOLLOW("ip rule del fwmark 7", named("a0")->default4);
	FOLLOW("ip -6 rule del fwmark 7", named("a0")->default6);
	FOLLOW("ip route add 128.0.0.0/1 via 10.2.0.9", named("b0")->default4);
	assert_false(named("a0")->default4);
	FOLLOW("ip route del 128.0.0.0/1", named("a0")->default4);
	FOLLOW("ip link del a0", !named("a0"));
	for (size_t i = 0; i < told->count; i++)
		assert_true(!told->list[i].default4 && !told->list[i].default6);
}

/* While the addresses come, one after the other. */
static void test_flood(void **state)
{
	uint64_t start = clock_ms(), took;
	unsigned turns = 0;

	assert_true(run("for i in $(seq 1 200); do ip addr add 10.7.$i.1/32 dev c1; done &"));
	while (!has("10.7.200.1") && clock_ms() < start + 10000)
		turns += pass_ms(50);
	assert_true(has("10.7.200.1") && has("10.7.1.1"));
	turns += pass_ms(QUIET_MS);
	took = clock_ms() - start;
	if (!changes || changes > took / 250 + 1)
		fail_msg("%u changes in %u ms", changes, (unsigned)took);
	if (turns > took / 50 + 4 * (took / 250 + 1))
		fail_msg("%u turns in %u ms", turns, (unsigned)took);
}

/* More events than the socket holds. */
static void test_overflow(void **state)
{
	FILE *batch = popen("ip -batch -", "we");

	assert_non_null(batch);
	for (int i = 0; i < 3000; i++)
		fprintf(batch, "route add 10.%d.%d.0/24 via 10.1.0.9\n", 100 + i / 250, i % 250);
	assert_int_equal(pclose(batch), 0);
	assert_in_range(pass_ms(QUIET_MS), 1, 8);
	FOLLOW("ip addr add 10.3.0.1/24 dev c1", has("10.3.0.1"));
	changes = 0;
	assert_true(run("ip route del 10.100.1.0/24"));
	pass_ms(QUIET_MS);
	assert_int_equal(changes, 0); /* a change that the list does not show */
}

static void test_list_outlives_monitor(void **state)
{
	struct netif_list *list = netif_list_ref(netif_monitor_list(monitor)), *old = list;
	struct addr addr = address("10.1.0.1");

	FOLLOW("ip addr del 10.1.0.1/24 dev a0", !has("10.1.0.1"));
	assert_ptr_not_equal(netif_monitor_list(monitor), old);
	assert_true(netif_has_address(old, &addr));
	netif_monitor_free(monitor);
	monitor = NULL;
	assert_true(netif_has_address(old, &addr));
	netif_list_unref(old);
	netif_list_unref(NULL);
}

static void test_link_local_scope(void **state)
{
	struct addr addr = address("fe80::7");
	const struct netif_list *list;

	FOLLOW("ip addr add fe80::7/64 dev a0 nodad", has("fe80::7"));
	list = netif_monitor_list(monitor);
	addr.scope = (uint32_t)named("a0")->index;
	addr.port = 443;
	assert_true(netif_has_address(list, &addr));
	addr.scope++;
	assert_false(netif_has_address(list, &addr));
}

static void test_nothing_left(void **state)
{
	unsigned fds = open_fds();

	for (int i = 0; i < 3; i++) {
		char reason[256];

		netif_monitor_free(monitor);
		monitor = NULL;
		assert_int_equal(
			netif_monitor_new(&monitor, &loop, &config, MARK, &watcher, reason), 0);
	}
	pass_ms(QUIET_MS);
	assert_int_equal(open_fds(), fds);
}

static void test_no_descriptors(void **state)
{
	struct netif_monitor *none = NULL;
	unsigned fds = open_fds();
	struct rlimit old, few;
	int next = dup(0);

	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	for (int spare = 0; spare < 3; spare++) {
		char reason[256] = "";
		int r;

		few.rlim_cur = (rlim_t)next + (rlim_t)spare;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		r = netif_monitor_new(&none, &loop, &config, MARK, &watcher, reason);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(r, -EMFILE);
		assert_null(none);
		assert_string_not_equal(reason, "");
		assert_int_equal(open_fds(), fds);
	}
}

/* A /sys of our own making: no test has wireless hardware. */
static const struct {
	const char *name, *lines;
	struct netif_facts facts;
	enum network_type type;
} hardware[] = {
	{ "radio", "mkdir phy80211", { .arphrd = ARPHRD_ETHER }, TYPE_WIFI },
	{ "old", "mkdir wireless", { .arphrd = ARPHRD_ETHER }, TYPE_WIFI },
	{ "radio2", "printf 'INTERFACE=x\\nDEVTYPE=wlan\\n' >uevent", { 0 }, TYPE_WIFI },
	{ "modem", "echo DEVTYPE=wwan >uevent", { .arphrd = ARPHRD_ETHER }, TYPE_CELLULAR },
	{ "modem2", "true", { .arphrd = ARPHRD_RAWIP }, TYPE_CELLULAR },
	{ "modem3", "true", { .kind = "wwan", .arphrd = ARPHRD_NONE }, TYPE_CELLULAR },
	{ "wlan1", "echo DEVTYPE=wwan >uevent", { .arphrd = ARPHRD_ETHER }, TYPE_CELLULAR },
	{ "bridge", "echo DEVTYPE=bridge >uevent", { .arphrd = ARPHRD_ETHER }, TYPE_ETHERNET },
	{ "point", "echo DEVTYPE=ppp >uevent", { .arphrd = ARPHRD_PPP }, TYPE_OTHER },
	{ "guard", "true", { .kind = "wireguard", .arphrd = ARPHRD_NONE }, TYPE_OTHER },
	/* of another namespace */
	{ "index", "mkdir phy80211; echo 6 >ifindex", { .arphrd = ARPHRD_ETHER }, TYPE_ETHERNET },
	{ "mac", "mkdir phy80211; echo 02:00 >address", { .arphrd = ARPHRD_ETHER }, TYPE_ETHERNET },
	{ "nosys", "rm ifindex", { .arphrd = ARPHRD_ETHER }, TYPE_ETHERNET },
	{ "bonded", "mkdir phy80211", { .arphrd = ARPHRD_ETHER }, TYPE_OTHER },
};

static void test_sysfs(void **state)
{
	static char name[] = "bonded";
	static const struct config_interface other = { name, TYPE_OTHER };

	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/sys/class/net", "tmpfs", 0, NULL))
		skip();
	for (size_t i = 0; i < sizeof(hardware) / sizeof(*hardware); i++) {
		struct netif_facts facts = hardware[i].facts;
		enum network_type type;
		char lines[512];

		snprintf(lines, sizeof(lines),
			 "mkdir /sys/class/net/%s && cd /sys/class/net/%s && echo 5 >ifindex && "
			 "echo 02:00:00:00:0a:ff >address && { %s; }",
			 hardware[i].name, hardware[i].name, hardware[i].lines);
		assert_int_equal(system(lines), 0);
		facts.index = 5;
		facts.name = hardware[i].name;
		facts.kind = facts.kind ? facts.kind : "";
		memcpy(facts.hardware, "\x02\0\0\0\x0a\xff", 6);
		facts.hardware_length = 6;
		type = netif_type(&facts, &other, 1);
		if (type != hardware[i].type)
			fail_msg("%s: %d", hardware[i].name, type);
	}
	assert_int_equal(umount("/sys/class/net"), 0);
}

#define WITH_MONITOR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_MONITOR(test_first_list),
		WITH_MONITOR(test_addresses),
		WITH_MONITOR(test_types),
		WITH_MONITOR(test_address_comes_and_goes),
		WITH_MONITOR(test_tentative),
		WITH_MONITOR(test_link),
		WITH_MONITOR(test_default_by_mark),
		WITH_MONITOR(test_flood),
		WITH_MONITOR(test_overflow),
		WITH_MONITOR(test_list_outlives_monitor),
		WITH_MONITOR(test_link_local_scope),
		WITH_MONITOR(test_nothing_left),
		WITH_MONITOR(test_no_descriptors),
		cmocka_unit_test(test_sysfs),
	};

	if (!enter_netns())
		return skipped("no network namespace of our own (CAP_SYS_ADMIN)");
	if (!run(make))
		return skipped("the ip command cannot make veth interfaces and routes");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
