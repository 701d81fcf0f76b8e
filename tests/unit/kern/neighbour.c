/* Who is on the link: the kernel's neighbours, by address and interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <net/if.h>
#include "kern/neighbour.h"
#include "netns.h"

static struct route_socket routes;

static const char setup[] =
	"ip link add a0 type veth peer name a1 && ip link set a0 up && ip link set a1 up\n"
	"ip link add b0 type veth peer name b1 && ip link set b0 up && ip link set b1 up\n"
	"ip neigh add 10.1.0.5 lladdr 02:00:00:00:00:05 dev a0 nud permanent\n"
	"ip neigh add 10.1.0.5 lladdr 02:00:00:00:00:06 dev b0 nud permanent\n"
	"ip neigh add fd01::5 lladdr 02:00:00:00:00:07 dev a0 nud permanent\n"
	"ip neigh add 10.1.0.9 dev a0 nud noarp\n";

/* The last byte of the MAC, or -errno. */
static int ask(const char *text, const char *interface)
{
	uint8_t mac[NEIGHBOUR_MAC_BYTES] = { 0 };
	struct addr addr;
	int r;

	assert_int_equal(addr_parse(text, 443, &addr), 0);
	r = neighbour_mac(&routes, (int)if_nametoindex(interface), &addr, mac);
	if (r)
		return r;
	assert_int_equal(mac[0], 2);
	return mac[5];
}

static void test_neighbours(void **state)
{
	assert_int_equal(ask("10.1.0.5", "a0"), 5);
	assert_int_equal(ask("10.1.0.5", "b0"), 6);
	assert_int_equal(ask("fd01::5", "a0"), 7);
	assert_int_equal(ask("fd01::5", "b0"), -ENOENT);
	assert_int_equal(ask("10.1.0.6", "a0"), -ENOENT);
	assert_int_equal(ask("10.1.0.5", "a1"), -ENOENT);
	assert_int_equal(ask("10.1.0.5", "none"), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_neighbours) };
	int r;

	if (!enter_netns())
		return skipped("no network namespace of our own (CAP_SYS_ADMIN)");
	if (!run(setup))
		return skipped("the ip command cannot make veth interfaces and neighbours");
	if (route_socket_init(&routes))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	route_socket_deinit(&routes);
	return r;
}
