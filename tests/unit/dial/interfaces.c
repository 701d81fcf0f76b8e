/* Who is tried when, who wins, what is learned of it, and that nothing is left behind. */
#include "bench.h"

struct scenario {
	const char *name;
	enum network_strategy kind;
	int winner; /* 0: none */
	const struct fate *first, *second;
	uint64_t at_ms, first_ms, second_ms;
	int err;
	const char *call;
};

static void expect_scenario(const struct scenario *s)
{
	if (bench->winner != s->winner || bench->err != s->err)
		fail_msg("%s: %d won, error %d", s->name, bench->winner, bench->err);
	expect_about(bench->done_ms, s->at_ms, "done", s->name);
	expect_about(bench->started_ms[WAN], s->first_ms, "first", s->name);
	expect_about(bench->started_ms[LTE], s->second_ms, "second", s->name);
	assert_true(bench->started_ms[LAN] == NEVER);
	assert_true(bench->started_ms[LO] == NEVER);
	if (s->call)
		assert_string_equal(bench->call, s->call);
	if (remembers() != (s->kind == NETWORK_FALLBACK && s->winner == LTE))
		fail_msg("%s: remembered %d", s->name, remembers());
	/* Who lost is gone, by RST, before the owner hears of it; the winner is in its own callback */
	if (bench->live_when_done != 1)
		fail_msg("%s: %u live when done", s->name, bench->live_when_done);
}

static void test_scenarios(void **state)
{
	static const struct scenario cases[] = {
		{ "default, both up", NETWORK_DEFAULT, WAN, &UP, &UP_TOO, 10, 0, NEVER, 0, NULL },
		{ "default, dead", NETWORK_DEFAULT, 0, &DEAD, &UP_TOO, 2000, 0, NEVER, -ETIMEDOUT,
		  "connect" },
		{ "default, slow", NETWORK_DEFAULT, WAN, &SLOW, &UP_TOO, 1000, 0, NEVER, 0, NULL },
		{ "default, refused", NETWORK_DEFAULT, 0, &REFUSED, &UP_TOO, 10, 0, NEVER,
		  -ECONNREFUSED, "connect" },
		{ "hybrid, both up", NETWORK_HYBRID, WAN, &UP, &UP_TOO, 10, 0, 0, 0, NULL },
		{ "hybrid, dead", NETWORK_HYBRID, LTE, &DEAD, &UP_TOO, 20, 0, 0, 0, NULL },
		{ "hybrid, slow", NETWORK_HYBRID, LTE, &SLOW, &UP_TOO, 20, 0, 0, 0, NULL },
		{ "hybrid, broken", NETWORK_HYBRID, LTE, &BROKEN, &UP_TOO, 20, 0, 0, 0, NULL },
		{ "hybrid, all fail", NETWORK_HYBRID, 0, &REFUSED, &DEAD, 2000, 0, 0, -ECONNREFUSED,
		  "connect" },
		{ "hybrid, the last breaks", NETWORK_HYBRID, 0, &DEAD, &BROKEN, 2000, 0, 0,
		  -ETIMEDOUT, "connect" },
		{ "fallback, both up", NETWORK_FALLBACK, WAN, &UP, &UP_TOO, 10, 0, NEVER, 0, NULL },
		{ "fallback, dead", NETWORK_FALLBACK, LTE, &DEAD, &UP_TOO, 320, 0, DELAY_MS, 0,
		  NULL },
		{ "fallback, slow", NETWORK_FALLBACK, LTE, &SLOW, &UP_TOO, 320, 0, DELAY_MS, 0,
		  NULL },
		{ "fallback, both slow", NETWORK_FALLBACK, WAN, &SLOW, &SLOW, 1000, 0, DELAY_MS, 0,
		  NULL },
		{ "fallback, refused", NETWORK_FALLBACK, LTE, &REFUSED, &UP_TOO, 30, 0, 10, 0,
		  NULL },
		{ "fallback, broken", NETWORK_FALLBACK, LTE, &BROKEN, &UP_TOO, 20, 0, 0, 0, NULL },
		{ "fallback, all dead", NETWORK_FALLBACK, 0, &DEAD, &DEAD, 2300, 0, DELAY_MS,
		  -ETIMEDOUT, "connect" },
		{ "fallback, all refused", NETWORK_FALLBACK, 0, &REFUSED, &REFUSED, 20, 0, 10,
		  -ECONNREFUSED, "connect" },
		{ "fallback, the first's error", NETWORK_FALLBACK, 0, &BROKEN, &REFUSED, 10, 0, 0,
		  -EPERM, "setsockopt" },
		{ "fallback, refused, then broken", NETWORK_FALLBACK, 0, &REFUSED, &BROKEN, 10, 0,
		  10, -ECONNREFUSED, "connect" },
		{ "fallback, dead, then broken", NETWORK_FALLBACK, 0, &DEAD, &BROKEN, 2000, 0,
		  DELAY_MS, -ETIMEDOUT, "connect" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bench->dialer->strategy.kind = cases[i].kind;
		bench->dialer->strategy.types = cases[i].kind == NETWORK_HYBRID
							? BIT(TYPE_ETHERNET) | BIT(TYPE_CELLULAR)
							: 0;
		bench->fates[WAN] = *cases[i].first;
		bench->fates[LTE] = *cases[i].second;
		forget();
		begin();
		assert_int_equal(bench->start_result, 0);
		finish();
		expect_scenario(&cases[i]);
	}
}

/* A fallback wins; what then follows when the first uplink is back. */
static void test_comes_back(void **state)
{
	static const struct {
		enum network_strategy kind;
		int while_dead; /* who wins */
		uint64_t second_ms, second_after_ms;
	} cases[] = { { NETWORK_DEFAULT, 0, NEVER, NEVER },
		      { NETWORK_HYBRID, LTE, 0, 0 },
		      { NETWORK_FALLBACK, LTE, 0, NEVER } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bench->dialer->strategy.kind = cases[i].kind;
		bench->fates[WAN] = DEAD;
		begin();
		finish();
		assert_int_equal(bench->winner, cases[i].while_dead);
		bench->fates[WAN] = UP;
		for (int turn = 0; turn < 2; turn++) {
			begin();
			finish();
			assert_int_equal(bench->winner, WAN);
			assert_int_equal(bench->started_ms[WAN], 0);
			assert_int_equal(bench->started_ms[LTE],
					 turn ? cases[i].second_after_ms : cases[i].second_ms);
		}
		assert_false(remembers());
	}
}

/* Both begin together for 15 s after the win; a fallback that wins meanwhile does not prolong it. */
static void test_memory(void **state)
{
	uint64_t won_ms;

	bench->fates[WAN] = DEAD;
	begin();
	finish();
	won_ms = bench->began_ms + bench->done_ms;
	for (int i = 0; i < 2; i++) {
		pass(1000);
		begin();
		assert_int_equal(bench->starts, 2);
		finish();
		assert_int_equal(bench->winner, LTE);
		assert_int_equal(bench->started_ms[LTE], 0);
		expect_about(bench->done_ms, 20, "done", "together");
	}
	pass(won_ms + FAST_MS - 1 - bench->loop.now_ms);
	begin();
	assert_int_equal(bench->starts, 2);
	dial_cancel(bench->dial, true);
	pass(1);
	begin();
	assert_int_equal(bench->starts, 1);
	finish();
	expect_about(bench->started_ms[LTE], DELAY_MS, "second", "after 15 s");
	assert_int_equal(bench->winner, LTE);
	begin();
	assert_int_equal(bench->starts, 2);
	finish();
}

/* Another worker's clock is a little ahead. */
static void test_memory_ahead(void **state)
{
	bench->dialer->memory->fallback_won_ms = bench->loop.now_ms + 5;
	begin();
	assert_int_equal(bench->starts, 2);
	finish();
}

static void test_cancel(void **state)
{
	/* At these times: nothing, one of two, and all are under way; on the last, what wins is due */
	static const uint64_t steps[] = { 0, 1, 9, 11, 299, 301, 302, 320, 500, 1999, 2001 };
	const struct fate fates[] = { DEAD, SLOW, REFUSED, BROKEN };

	for (size_t f = 0; f < ARRAY_SIZE(fates); f++)
		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			bench->fates[WAN] = fates[f];
			bench->fates[LTE] = DEAD;
			begin();
			assert_int_equal(bench->start_result, 0);
			pass(steps[i]);
			if (bench->done) {
				finish();
				continue;
			}
			dial_cancel(bench->dial, true);
			assert_int_equal(bench->live, 0);
			assert_true(bench->reset > 0);
			assert_true(timer_wheel_empty(&bench->loop.timers));
			assert_int_equal(bench->loop.io_count, 0);
			pass(5000);
			assert_int_equal(bench->done, 0);
		}
}

static void test_losers_are_reset(void **state)
{
	bench->fates[WAN] = DEAD;
	begin();
	finish();
	assert_int_equal(bench->reset, 1);
	bench->dialer->strategy.kind = NETWORK_HYBRID;
	begin();
	finish();
	assert_int_equal(bench->starts, 3);
	assert_int_equal(bench->reset, 2);
}

/* The socket that nobody takes is closed. */
static void test_not_taken(void **state)
{
	bench->take = false;
	begin();
	finish();
	assert_int_equal(bench->winner, WAN);
}

static void test_refusals(void **state)
{
	bench->fates[WAN] = bench->fates[LTE] = BROKEN;
	begin();
	assert_int_equal(bench->start_result, -EPERM);
	assert_string_equal(bench->call, "setsockopt");
	assert_int_equal(bench->starts, 2);
	bench->dialer->strategy.types = BIT(TYPE_OTHER);
	bench->dialer->strategy.fallback_types = BIT(TYPE_OTHER);
	begin();
	assert_int_equal(bench->start_result, -ENETUNREACH);
	assert_string_equal(bench->call, "no interface for the network strategy");
	assert_int_equal(bench->starts, 0);
	assert_true(timer_wheel_empty(&bench->loop.timers));
}

/* No primary: the fallbacks do not wait for anybody. */
static void test_no_primary(void **state)
{
	bench->dialer->strategy.types = BIT(TYPE_OTHER);
	begin();
	assert_int_equal(bench->started_ms[LTE], 0);
	finish();
	assert_int_equal(bench->winner, LTE);
}

static void test_no_default(void **state)
{
	bench->default_interface = 0;
	bench->fates[WAN] = DEAD;
	begin();
	assert_int_equal(bench->starts, 3);
	finish();
	assert_int_equal(bench->winner, LTE);
	assert_false(remembers());
}

/* Between the plan and its time the interface, or the list, has gone. */
static void test_gone(void **state)
{
	struct netif_list shorter = { .count = 3, .list = bench->interfaces };

	bench->fates[WAN] = DEAD;
	begin();
	bench->env.interfaces = &shorter;
	finish();
	assert_int_equal(bench->starts, 1);
	assert_int_equal(bench->err, -ETIMEDOUT);
	bench->env.interfaces = &bench->list;
}

static void test_told_by_whom(void **state)
{
	begin_from(&bench->interfaces[3]);
	finish();
	assert_int_equal(bench->winner, LTE);
	assert_int_equal(bench->starts, 1);
	assert_false(remembers());
}

/* An address of our own is not asked for by way of the uplinks, and nothing is bound to lo. */
static void test_own_address(void **state)
{
	bench->default_interface = LO;
	bench->dialer->strategy.kind = NETWORK_DEFAULT;
	begin();
	finish();
	assert_int_equal(bench->winner, LO);
	assert_int_equal(bench->starts, 1);
}

/* Datagrams: one after the other, without a head start, and nothing is learned or forgotten. */
static void test_datagrams(void **state)
{
	static const struct {
		enum network_strategy kind;
		const struct fate *first, *second;
		int winner, err;
		uint64_t second_ms;
	} cases[] = { { NETWORK_DEFAULT, &UP, &UP_TOO, WAN, 0, NEVER },
		      { NETWORK_HYBRID, &SLOW, &UP, WAN, 0, NEVER },
		      { NETWORK_HYBRID, &BROKEN, &UP_TOO, LTE, 0, 0 },
		      { NETWORK_FALLBACK, &SLOW, &UP, WAN, 0, NEVER },
		      { NETWORK_FALLBACK, &BROKEN, &UP_TOO, LTE, 0, 0 },
		      { NETWORK_FALLBACK, &REFUSED, &UP_TOO, LTE, 0, 10 },
		      { NETWORK_FALLBACK, &REFUSED, &BROKEN, 0, -ECONNREFUSED, 10 },
		      { NETWORK_FALLBACK, &BROKEN, &REFUSED, 0, -EPERM, 0 } };

	bench->type = SOCK_DGRAM;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		bool known = i >= ARRAY_SIZE(cases);
		size_t n = i % ARRAY_SIZE(cases);

		bench->dialer->strategy.kind = cases[n].kind;
		bench->dialer->strategy.types = cases[n].kind == NETWORK_HYBRID
							? BIT(TYPE_ETHERNET) | BIT(TYPE_CELLULAR)
							: 0;
		bench->fates[WAN] = *cases[n].first;
		bench->fates[LTE] = *cases[n].second;
		bench->dialer->memory->fallback_won_ms = known ? bench->loop.now_ms : 0;
		begin();
		assert_int_equal(bench->start_result, 0);
		finish();
		assert_int_equal(bench->winner, cases[n].winner);
		assert_int_equal(bench->err, cases[n].err);
		expect_about(bench->started_ms[LTE], cases[n].second_ms, "second", "datagrams");
		assert_int_equal(bench->reset, 0);
		assert_int_equal(remembers(), known);
	}
	bench->fates[WAN] = bench->fates[LTE] = BROKEN;
	begin();
	assert_int_equal(bench->start_result, -EPERM);
	assert_int_equal(bench->starts, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_scenarios),    TEST(test_comes_back), TEST(test_memory),
		TEST(test_memory_ahead), TEST(test_cancel),     TEST(test_losers_are_reset),
		TEST(test_not_taken),    TEST(test_refusals),   TEST(test_no_primary),
		TEST(test_no_default),   TEST(test_gone),       TEST(test_told_by_whom),
		TEST(test_own_address),  TEST(test_datagrams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
