/* Which interfaces a dial gets: the whole table of strategies and types, and what is never tried. */
#include "dial/strategy.h"
#include "uplinks.h"

#define E BIT(TYPE_ETHERNET)
#define C BIT(TYPE_CELLULAR)
#define W BIT(TYPE_WIFI)
#define O BIT(TYPE_OTHER)

/* Routes to the destination leave by these. */
struct routes {
	bool by[64];
	unsigned asked[64];
};

static bool reaches(void *owner, int interface)
{
	struct routes *routes = owner;

	routes->asked[interface]++;
	return routes->by[interface];
}

static void expect_plan(const struct strategy_plan *plan, const char *expected, const char *what)
{
	char text[256] = "";
	size_t len = 0;

	for (unsigned i = 0; i <= plan->count; i++) {
		if (i == plan->primaries)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "|");
		if (i < plan->count)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%d",
						plan->interfaces[i]);
	}
	if (strcmp(text, expected) != 0)
		fail_msg("%s: %s, not %s", what, text, expected);
}

static void expect_asked_once(const struct routes *routes, int default_interface, const char *what)
{
	for (int i = 0; i < 64; i++)
		if (routes->asked[i] > 1)
			fail_msg("%s: asked %u times for %d", what, routes->asked[i], i);
	assert_int_equal(routes->asked[LO], 0);
	assert_int_equal(routes->asked[default_interface], 0);
}

/* Primaries | fallbacks, with all five up, and routes by WAN 3 (ethernet), LTE 4 and WIFI 5. */
static void test_table(void **state)
{
	static const struct {
		enum network_strategy kind;
		unsigned types, fallback_types;
		int default_interface;
		const char *expected;
	} cases[] = {
		{ NETWORK_DEFAULT, 0, 0, WAN, "3|" },
		{ NETWORK_DEFAULT, 0, 0, WIFI, "5|" },
		{ NETWORK_DEFAULT, 0, 0, 0, "345|" },
		{ NETWORK_DEFAULT, 0, C, WAN, "3|" },
		{ NETWORK_DEFAULT, 0, 0, LO, "1|" },
		{ NETWORK_DEFAULT, E, 0, 0, "3|" },
		{ NETWORK_DEFAULT, C, 0, 0, "4|" },
		{ NETWORK_DEFAULT, C | W, 0, 0, "45|" },
		{ NETWORK_DEFAULT, C, W, 0, "4|" },
		{ NETWORK_DEFAULT, O, 0, 0, "|" },
		{ NETWORK_HYBRID, 0, 0, 0, "345|" },
		{ NETWORK_HYBRID, 0, C, 0, "345|" },
		{ NETWORK_HYBRID, E | W, 0, 0, "35|" },
		{ NETWORK_HYBRID, W, C, 0, "5|" },
		{ NETWORK_HYBRID, O, 0, 0, "|" },
		{ NETWORK_FALLBACK, 0, 0, WAN, "3|45" },
		{ NETWORK_FALLBACK, 0, 0, LTE, "4|35" },
		{ NETWORK_FALLBACK, 0, 0, 0, "345|" },
		{ NETWORK_FALLBACK, 0, W, 0, "345|" },
		{ NETWORK_FALLBACK, 0, W, WAN, "3|5" },
		{ NETWORK_FALLBACK, 0, E, WAN, "3|" },
		{ NETWORK_FALLBACK, 0, E | W, WAN, "3|5" },
		{ NETWORK_FALLBACK, 0, O, WAN, "3|" },
		{ NETWORK_FALLBACK, E, 0, 0, "3|45" },
		{ NETWORK_FALLBACK, C | W, 0, 0, "45|3" },
		{ NETWORK_FALLBACK, E, C, 0, "3|4" },
		{ NETWORK_FALLBACK, C, C, 0, "4|" },
		{ NETWORK_FALLBACK, C, C | E, 0, "4|3" },
		{ NETWORK_FALLBACK, O, 0, 0, "|345" },
		{ NETWORK_FALLBACK, O, W, 0, "|5" },
		{ NETWORK_FALLBACK, O, O, 0, "|" },
	};
	struct netif interfaces[ROUTER_COUNT];
	const struct netif_list list = { .count = ROUTER_COUNT, .list = interfaces };

	make_router(interfaces);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct strategy strategy = { cases[i].kind, cases[i].types,
						   cases[i].fallback_types };
		struct routes routes = { .by = { [WAN] = true, [LTE] = true, [WIFI] = true } };
		struct strategy_plan plan;
		char what[64];

		snprintf(what, sizeof(what), "case %zu", i);
		assert_true(!cases[i].default_interface || strategy_needs_default(&strategy));
		strategy_plan(&strategy, &list, cases[i].default_interface, reaches, &routes,
			      &plan);
		expect_plan(&plan, cases[i].expected, what);
		expect_asked_once(&routes, cases[i].default_interface, what);
	}
}

static void test_needs_default(void **state)
{
	static const struct {
		struct strategy strategy;
		bool expected;
	} cases[] = {
		{ { NETWORK_DEFAULT, 0, 0 }, true },   { { NETWORK_DEFAULT, 0, W }, true },
		{ { NETWORK_DEFAULT, W, 0 }, false },  { { NETWORK_HYBRID, 0, 0 }, false },
		{ { NETWORK_HYBRID, W, 0 }, false },   { { NETWORK_FALLBACK, 0, 0 }, true },
		{ { NETWORK_FALLBACK, 0, W }, true },  { { NETWORK_FALLBACK, W, 0 }, false },
		{ { NETWORK_FALLBACK, W, E }, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(strategy_needs_default(&cases[i].strategy), cases[i].expected);
}

/* What is down, without a carrier or gone has no part, wherever the routes lead. */
static void test_links(void **state)
{
	static const struct {
		bool down, no_carrier, gone;
		int default_interface;
		enum network_strategy kind;
		const char *expected; /* with WAN like that */
	} cases[] = {
		{ .kind = NETWORK_HYBRID, .expected = "345|" },
		{ .down = true, .kind = NETWORK_HYBRID, .expected = "45|" },
		{ .no_carrier = true, .kind = NETWORK_HYBRID, .expected = "45|" },
		{ .gone = true, .kind = NETWORK_HYBRID, .expected = "45|" },
		{ false, true, false, WAN, NETWORK_DEFAULT, "45|" },
		{ true, false, false, WAN, NETWORK_FALLBACK, "45|" },
		{ false, false, true, WAN, NETWORK_DEFAULT, "45|" },
		{ false, true, false, LTE, NETWORK_FALLBACK, "4|5" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct strategy strategy = { .kind = cases[i].kind };
		struct routes routes = { .by = { [WAN] = true, [LTE] = true, [WIFI] = true } };
		struct netif interfaces[ROUTER_COUNT];
		const struct netif_list list = { .count = ROUTER_COUNT, .list = interfaces };
		struct strategy_plan plan;
		char what[64];

		make_router(interfaces);
		interfaces[2].up = !cases[i].down;
		interfaces[2].running = !cases[i].no_carrier && !cases[i].down;
		if (cases[i].gone)
			interfaces[2] = make_netif(33, TYPE_ETHERNET);
		snprintf(what, sizeof(what), "case %zu", i);
		strategy_plan(&strategy, &list, cases[i].default_interface, reaches, &routes,
			      &plan);
		expect_plan(&plan, cases[i].expected, what);
	}
}

/* Sixteen in all, and the primaries come first. */
static void test_many(void **state)
{
	struct strategy strategy = { NETWORK_FALLBACK, C, 0 };
	struct netif interfaces[40];
	const struct netif_list list = { .count = ARRAY_SIZE(interfaces), .list = interfaces };
	struct routes routes = { 0 };
	struct strategy_plan plan;

	for (int i = 0; i < 40; i++) {
		interfaces[i] = make_netif(10 + i, i < 35 ? TYPE_ETHERNET : TYPE_CELLULAR);
		routes.by[10 + i] = true;
	}
	strategy_plan(&strategy, &list, 0, reaches, &routes, &plan);
	assert_int_equal(plan.primaries, 5);
	assert_int_equal(plan.count, STRATEGY_MAX);
	assert_int_equal(plan.interfaces[0], 45);
	assert_int_equal(plan.interfaces[5], 10);
	strategy.types = E;
	strategy_plan(&strategy, &list, 0, reaches, &routes, &plan);
	assert_int_equal(plan.primaries, STRATEGY_MAX);
	assert_int_equal(plan.count, STRATEGY_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_needs_default),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
