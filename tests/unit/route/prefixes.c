/* Networks around an address, and what is private. */
#include "naive.h"
#include "route/prefixes.h"
#include "route/private.h"

#define PREFIXES_MAX 300

static void check(const struct config_prefix *list, uint32_t count, const struct addr *addrs,
		  size_t addr_count)
{
	struct route_prefixes table;

	assert_int_equal(route_prefixes_init(&table, count), 0);
	for (uint32_t i = 0; i < count; i++)
		route_prefixes_add(&table, &list[i], i);
	assert_int_equal(route_prefixes_seal(&table), 0);
	for (size_t k = 0; k < addr_count; k++) {
		uint32_t found = route_prefixes_find(&table, &addrs[k]), next = ROUTE_END;

		for (uint32_t i = count; i--;) {
			bool inside = naive_contains(&list[i], &addrs[k]);

			assert_int_equal(route_chains_have(&table.chains, found, i), inside);
			if (inside)
				next = i;
			assert_int_equal(route_chains_next(&table.chains, found, i), next);
		}
	}
	route_prefixes_deinit(&table);
	route_prefixes_deinit(&table);
}

static void test_nested(void **state)
{
	const struct config_prefix list[] = {
		prefix("10.1.0.0", 16),    prefix("0.0.0.0", 0),
		prefix("10.0.0.0", 8),     prefix("10.1.2.3", 32),
		prefix("10.1.0.0", 16),    prefix("10.1.255.255", 17),
		prefix("128.0.0.0", 1),    prefix("::", 0),
		prefix("2001:db8::", 32),  prefix("2001:db8::1", 128),
		prefix("2001:db8::", 127), prefix("255.255.255.255", 32),
	};
	const struct addr addrs[] = {
		address("10.1.2.3", 1),
		address("10.1.2.4", 2),
		address("10.1.128.0", 0),
		address("10.2.0.0", 0),
		address("9.0.0.0", 0),
		address("0.0.0.0", 0),
		address("255.255.255.255", 0),
		address("::", 0),
		address("2001:db8::1", 0),
		address("2001:db8::2", 0),
		address("ffff::", 0),
		address("a01:203::", 0),
		{ .family = AF_UNSPEC, .port = 443 },
	};

	check(list, ARRAY_SIZE(list), addrs, ARRAY_SIZE(addrs));
	for (uint32_t i = 0; i < ARRAY_SIZE(list); i++) /* one alone: the rest does not hide it */
		check(&list[i], 1, addrs, ARRAY_SIZE(addrs));
	check(NULL, 0, addrs, ARRAY_SIZE(addrs));
}

static struct addr random_addr(unsigned *seed)
{
	struct addr addr = { .family = rand_r(seed) % 2 ? AF_INET : AF_INET6 };
	size_t bytes = addr.family == AF_INET ? 4 : 16;

	/* Few values, so that much is inside something. */
	for (size_t i = 0; i < bytes; i++)
		addr.v6.s6_addr[i] = (uint8_t)(rand_r(seed) / 64 % 3 * 85);
	return addr;
}

static void test_random(void **state)
{
	static struct config_prefix list[PREFIXES_MAX];
	struct addr addrs[50];
	unsigned seed = 4;

	for (unsigned round = 0; round < 60; round++) {
		uint32_t count = (uint32_t)rand_r(&seed) % PREFIXES_MAX;

		for (uint32_t i = 0; i < count; i++) {
			unsigned bits = (unsigned)rand_r(&seed) / 64;

			list[i].addr = random_addr(&seed);
			list[i].bits = (uint8_t)(list[i].addr.family == AF_INET ? bits % 33
										: bits % 129);
		}
		for (size_t i = 0; i < ARRAY_SIZE(addrs); i++)
			addrs[i] = random_addr(&seed);
		check(list, count, addrs, ARRAY_SIZE(addrs));
	}
}

static void test_private(void **state)
{
	static const struct {
		const char *text;
		bool is_private;
	} cases[] = {
		{ "10.0.0.0", true },
		{ "10.255.255.255", true },
		{ "9.255.255.255", false },
		{ "11.0.0.0", false },
		{ "172.15.255.255", false },
		{ "172.16.0.0", true },
		{ "172.31.255.255", true },
		{ "172.32.0.0", false },
		{ "192.168.0.1", true },
		{ "192.169.0.0", false },
		{ "100.63.255.255", false },
		{ "100.64.0.0", true },
		{ "100.127.255.255", true },
		{ "100.128.0.0", false },
		{ "127.0.0.1", true },
		{ "128.0.0.0", false },
		{ "169.254.1.1", true },
		{ "169.255.0.0", false },
		{ "224.0.0.1", true },
		{ "239.255.255.255", true },
		{ "240.0.0.1", false },
		{ "255.255.255.255", true },
		{ "0.0.0.0", true },
		{ "0.0.0.1", false },
		{ "8.8.8.8", false },
		{ "::", true },
		{ "::1", true },
		{ "::2", false },
		{ "fc00::1", true },
		{ "fdff::1", true },
		{ "fe00::1", false },
		{ "fe80::1", true },
		{ "febf::1", true },
		{ "fec0::1", false },
		{ "ff02::1", true },
		{ "2001:db8::1", false },
	};
	const struct addr none = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr addr = address(cases[i].text, 5);

		if (route_is_private(&addr) != cases[i].is_private)
			fail_msg("%s", cases[i].text);
		assert_int_equal(naive_private(&addr), cases[i].is_private);
	}
	assert_false(route_is_private(&none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_private),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
