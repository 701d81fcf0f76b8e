/* What clients are told so that their segments fit every uplink, from lists of interfaces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "flow/mss.h"

#define HOME   0 /* one of the list below each */
#define WAN    1
#define VPN    2
#define BRIDGE 3 /* a port of one: without addresses */
#define COUNT  4

static struct netif netifs[COUNT];
static struct netif_list list = { .refs = 1, .count = COUNT, .list = netifs };
static struct netif_address addresses[2];
static struct config_outbound outbounds[2];
static struct config config = { .outbounds = outbounds, .outbound_count = 2 };

/* A home with an uplink that has both families, and a tunnel that nobody uses. */
static int at_home(void **state)
{
	static const char *const names[COUNT] = { "br0", "ppp0", "wg0", "eth0" };
	static const uint32_t mtus[COUNT] = { 1500, 1492, 1420, 9000 };

	memset(outbounds, 0, sizeof(outbounds));
	assert_int_equal(addr_parse("192.0.2.1", 0, &addresses[0].addr), 0);
	assert_int_equal(addr_parse("2001:db8::1", 0, &addresses[1].addr), 0);
	for (int i = 0; i < COUNT; i++) {
		netifs[i] = (struct netif){ .index = i + 1,
					    .up = true,
					    .mtu = mtus[i],
					    .addresses = addresses,
					    .address_count = i == BRIDGE ? 0 : 2 };
		snprintf(netifs[i].name, sizeof(netifs[i].name), "%s", names[i]);
	}
	netifs[WAN].default4 = netifs[WAN].default6 = true;
	return 0;
}

static uint32_t mss_of(const char *listen)
{
	struct addr addr;

	assert_int_equal(addr_parse(listen, 12345, &addr), 0);
	return mss_for(&config, &list, &addr);
}

static void expect(uint32_t four, uint32_t six, uint32_t both)
{
	assert_int_equal(mss_of("0.0.0.0"), four);
	assert_int_equal(mss_of("192.0.2.1"), four);
	assert_int_equal(mss_of("2001:db8::1"), six);
	assert_int_equal(mss_of("::"), both);
}

static void test_home(void **state)
{
	expect(1452, 1432, 1432);
	netifs[WAN].default6 = false;
	expect(1452, 0, 1452);
	netifs[WAN].default6 = true;
	netifs[WAN].default4 = false;
	expect(0, 1432, 1432);
	netifs[WAN].default6 = false;
	expect(0, 0, 0);
}

static void test_enough(void **state)
{
	netifs[WAN].mtu = 1500;
	expect(0, 0, 0);
	netifs[WAN].mtu = 9000;
	expect(0, 0, 0);
	netifs[HOME].mtu = 9000;
	expect(0, 0, 0);
	netifs[WAN].mtu = 1500;
	expect(1460, 1440, 1440);
	netifs[HOME].up = false;
	expect(0, 0, 0);
}

static void test_bound(void **state)
{
	outbounds[1] = (struct config_outbound){ .type = OUTBOUND_DIRECT, .bind_interface = "wg0" };
	expect(1380, 1360, 1360);
	outbounds[1].netns = "other";
	expect(1452, 1432, 1432);
	outbounds[1] = (struct config_outbound){ .type = OUTBOUND_WIREGUARD,
						 .wireguard.name = "wg0" };
	expect(1380, 1360, 1360);
	netifs[VPN].address_count = 1; /* only IPv4 */
	expect(1380, 1432, 1380);
	netifs[VPN].up = false;
	expect(1452, 1432, 1432);
}

static void test_limits(void **state)
{
	netifs[WAN].mtu = 68;
	expect(88, 88, 88);
	netifs[HOME].mtu = 65536;
	netifs[WAN].mtu = 65000;
	expect(32767, 32767, 32767);
	netifs[HOME].loopback = true;
	expect(0, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_home, at_home),
		cmocka_unit_test_setup(test_enough, at_home),
		cmocka_unit_test_setup(test_bound, at_home),
		cmocka_unit_test_setup(test_limits, at_home),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
