/* When which address is tried: every network against every strategy, on a clock of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "base/names.h"
#include "dial/eyeballs.h"

#define NEVER      UINT64_MAX
#define TIMEOUT_MS 5000 /* of an attempt */

enum outcome { CONNECTS, REFUSES };

struct fate {
	enum outcome outcome;
	uint32_t after_ms;
};
#define CONNECT                      \
	{                            \
		{ CONNECTS, 20 },    \
		{                    \
			CONNECTS, 20 \
		}                    \
	}
#define REFUSE                      \
	{                           \
		{ REFUSES, 20 },    \
		{                   \
			REFUSES, 20 \
		}                   \
	}
#define HANG                                \
	{                                   \
		{ REFUSES, TIMEOUT_MS },    \
		{                           \
			REFUSES, TIMEOUT_MS \
		}                           \
	}

struct network {
	const char *name;
	uint32_t answer_ms[DNS_TYPE_COUNT];  /* A, AAAA */
	unsigned count[DNS_TYPE_COUNT];      /* of addresses; 0: NXDOMAIN, SERVFAIL */
	struct fate fate[DNS_TYPE_COUNT][2]; /* of the first address, of the others */
	const char *expected[STRATEGY_COUNT];
};

/* Family.number@start, then how it ends. Worked out by hand from RFC 8305 and the defaults: 50, 250, 300. */
static const struct network networks[] = {
	{ "both fast",
	  { 10, 10 },
	  { 2, 2 },
	  { CONNECT, CONNECT },
	  { "4.0@10 won 4.0@30", "6.0@10 won 6.0@30", "4.0@10 won 4.0@30", "6.0@10 won 6.0@30" } },
	{ "AAAA slow",
	  { 10, 200 },
	  { 2, 2 },
	  { CONNECT, CONNECT },
	  { "4.0@10 won 4.0@30", "4.0@60 won 4.0@80", "4.0@10 won 4.0@30",
	    "6.0@200 won 6.0@220" } },
	{ "AAAA a little later",
	  { 10, 40 },
	  { 2, 2 },
	  { CONNECT, CONNECT },
	  { "4.0@10 won 4.0@30", "6.0@40 won 6.0@60", "4.0@10 won 4.0@30", "6.0@40 won 6.0@60" } },
	{ "A slow",
	  { 200, 10 },
	  { 2, 2 },
	  { CONNECT, CONNECT },
	  { "6.0@60 won 6.0@80", "6.0@10 won 6.0@30", "4.0@200 won 4.0@220",
	    "6.0@10 won 6.0@30" } },
	{ "AAAA slow, v4 blackhole: what comes late is merged",
	  { 10, 200 },
	  { 2, 2 },
	  { HANG, CONNECT },
	  { "4.0@10 6.0@310 won 6.0@330", "4.0@60 6.0@310 won 6.0@330",
	    "4.0@10 4.1@260 failed@5260", "6.0@200 won 6.0@220" } },
	{ "A slow, v6 blackhole",
	  { 200, 10 },
	  { 2, 2 },
	  { CONNECT, HANG },
	  { "6.0@60 4.0@310 won 4.0@330", "6.0@10 4.0@310 won 4.0@330", "4.0@200 won 4.0@220",
	    "6.0@10 6.1@260 failed@5260" } },
	{ "NXDOMAIN",
	  { 20, 10 },
	  { 0, 0 },
	  { CONNECT, CONNECT },
	  { "failed@20", "failed@20", "failed@20", "failed@10" } },
	{ "no AAAA, known before A",
	  { 30, 10 },
	  { 2, 0 },
	  { CONNECT, CONNECT },
	  { "4.0@30 won 4.0@50", "4.0@30 won 4.0@50", "4.0@30 won 4.0@50", "failed@10" } },
	{ "SERVFAIL of AAAA within the resolution delay",
	  { 10, 30 },
	  { 2, 0 },
	  { CONNECT, CONNECT },
	  { "4.0@10 won 4.0@30", "4.0@30 won 4.0@50", "4.0@10 won 4.0@30", "failed@30" } },
	{ "SERVFAIL of AAAA after 2 s",
	  { 10, 2000 },
	  { 2, 0 },
	  { REFUSE, CONNECT },
	  { "4.0@10 4.1@30 failed@2000", "4.0@60 4.1@80 failed@2000", "4.0@10 4.1@30 failed@50",
	    "failed@2000" } },
	{ "SERVFAIL of A",
	  { 2000, 10 },
	  { 0, 2 },
	  { CONNECT, CONNECT },
	  { "6.0@60 won 6.0@80", "6.0@10 won 6.0@30", "failed@2000", "6.0@10 won 6.0@30" } },
	{ "SERVFAIL of both",
	  { 2000, 2000 },
	  { 0, 0 },
	  { CONNECT, CONNECT },
	  { "failed@2000", "failed@2000", "failed@2000", "failed@2000" } },
	{ "v6 blackhole",
	  { 10, 10 },
	  { 2, 2 },
	  { CONNECT, HANG },
	  { "4.0@10 won 4.0@30", "6.0@10 4.0@310 won 4.0@330", "4.0@10 won 4.0@30",
	    "6.0@10 6.1@260 failed@5260" } },
	{ "v6 RST",
	  { 10, 10 },
	  { 2, 2 },
	  { CONNECT, REFUSE },
	  { "4.0@10 won 4.0@30", "6.0@10 4.0@30 won 4.0@50", "4.0@10 won 4.0@30",
	    "6.0@10 6.1@30 failed@50" } },
	{ "v4 RST",
	  { 10, 10 },
	  { 2, 2 },
	  { REFUSE, CONNECT },
	  { "4.0@10 6.0@30 won 6.0@50", "6.0@10 won 6.0@30", "4.0@10 4.1@30 failed@50",
	    "6.0@10 won 6.0@30" } },
	{ "all RST",
	  { 10, 10 },
	  { 2, 2 },
	  { REFUSE, REFUSE },
	  { "4.0@10 6.0@30 4.1@50 6.1@70 failed@90", "6.0@10 4.0@30 6.1@50 4.1@70 failed@90",
	    "4.0@10 4.1@30 failed@50", "6.0@10 6.1@30 failed@50" } },
	{ "all blackhole",
	  { 10, 10 },
	  { 2, 2 },
	  { HANG, HANG },
	  { "4.0@10 6.0@310 4.1@560 6.1@810 failed@5810",
	    "6.0@10 4.0@310 6.1@560 4.1@810 failed@5810", "4.0@10 4.1@260 failed@5260",
	    "6.0@10 6.1@260 failed@5260" } },
	{ "8 addresses, all blackhole",
	  { 10, 10 },
	  { 8, 8 },
	  { HANG, HANG },
	  { "4.0@10 6.0@310 4.1@560 6.1@810 4.2@1060 6.2@1310 4.3@1560 6.3@1810 4.4@2060 6.4@2310 "
	    "4.5@2560 6.5@2810 4.6@3060 6.6@3310 4.7@3560 6.7@3810 failed@8810",
	    "6.0@10 4.0@310 6.1@560 4.1@810 6.2@1060 4.2@1310 6.3@1560 4.3@1810 6.4@2060 4.4@2310 "
	    "6.5@2560 4.5@2810 6.6@3060 4.6@3310 6.7@3560 4.7@3810 failed@8810",
	    "4.0@10 4.1@260 4.2@510 4.3@760 4.4@1010 4.5@1260 4.6@1510 4.7@1760 failed@6760",
	    "6.0@10 6.1@260 6.2@510 6.3@760 6.4@1010 6.5@1260 6.6@1510 6.7@1760 failed@6760" } },
	{ "3 and 1, all blackhole: no family left to alternate with",
	  { 10, 10 },
	  { 1, 3 },
	  { HANG, HANG },
	  { "4.0@10 6.0@310 6.1@560 6.2@810 failed@5810",
	    "6.0@10 4.0@310 6.1@560 6.2@810 failed@5810", "4.0@10 failed@5010",
	    "6.0@10 6.1@260 6.2@510 failed@5510" } },
	{ "one fails that is not the last: nothing is hurried",
	  { 10, 10 },
	  { 2, 2 },
	  { HANG, { { REFUSES, 400 }, { CONNECTS, 20 } } },
	  { "4.0@10 6.0@310 4.1@560 6.1@810 won 6.1@830", "6.0@10 4.0@310 6.1@560 won 6.1@580",
	    "4.0@10 4.1@260 failed@5260", "6.0@10 6.1@260 won 6.1@280" } },
	{ "the last fails, the first still runs",
	  { 10, 10 },
	  { 2, 2 },
	  { REFUSE, { { REFUSES, TIMEOUT_MS }, { CONNECTS, 20 } } },
	  { "4.0@10 6.0@30 4.1@280 6.1@300 won 6.1@320", "6.0@10 4.0@310 6.1@330 won 6.1@350",
	    "4.0@10 4.1@30 failed@50", "6.0@10 6.1@260 won 6.1@280" } },
	{ "the last fails, but the other family's time has not come",
	  { 270, 10 },
	  { 2, 2 },
	  { CONNECT, { { REFUSES, TIMEOUT_MS }, { REFUSES, 20 } } },
	  { "6.0@60 4.0@310 won 4.0@330", "6.0@10 6.1@260 4.0@310 won 4.0@330",
	    "4.0@270 won 4.0@290", "6.0@10 6.1@260 failed@5010" } },
	{ "the last has failed, then an answer comes",
	  { 400, 10 },
	  { 2, 2 },
	  { CONNECT, { { REFUSES, TIMEOUT_MS }, { REFUSES, 20 } } },
	  { "6.0@60 6.1@310 4.0@400 won 4.0@420", "6.0@10 6.1@260 4.0@400 won 4.0@420",
	    "4.0@400 won 4.0@420", "6.0@10 6.1@260 failed@5010" } },
};

struct running {
	bool on;
	enum dns_type family;
	unsigned number;
	uint64_t end_ms;
	enum outcome outcome;
};

struct sim {
	struct eyeballs eyeballs;
	const struct network *network;
	bool answered[DNS_TYPE_COUNT];
	struct running running[EYEBALLS_ATTEMPTS_MAX];
	unsigned attempts;
	uint64_t now_ms;
	char text[1024];
};

__attribute__((format(printf, 2, 3))) static void say(struct sim *s, const char *format, ...)
{
	size_t used = strlen(s->text);
	va_list args;

	va_start(args, format);
	vsnprintf(s->text + used, sizeof(s->text) - used, format, args);
	va_end(args);
}

static int digit(enum dns_type family)
{
	return family == DNS_A ? 4 : 6;
}

static struct addr numbered(enum dns_type family, unsigned number)
{
	struct addr addr = { .family = family == DNS_A ? AF_INET : AF_INET6 };

	if (family == DNS_A)
		addr.v4.s_addr = number;
	else
		addr.v6.s6_addr[15] = (uint8_t)number;
	return addr;
}

static void answer(struct sim *s, enum dns_type type)
{
	struct addr addrs[DNS_ADDRS_MAX + 1];

	for (unsigned i = 0; i < s->network->count[type]; i++)
		addrs[i] = numbered(type, i);
	s->answered[type] = true;
	eyeballs_answered(&s->eyeballs, type, addrs, s->network->count[type], s->now_ms);
}

static void begin(struct sim *s, const struct eyeballs_next *next)
{
	unsigned number = next->family == DNS_A ? next->addr.v4.s_addr : next->addr.v6.s6_addr[15];
	const struct fate *fate = &s->network->fate[next->family][number > 0];
	struct addr addr = numbered(next->family, number);

	assert_true(addr_equal(&next->addr, &addr));
	assert_int_equal(next->attempt, s->attempts);
	s->running[s->attempts++] = (struct running){ .on = true,
						      .family = next->family,
						      .number = number,
						      .end_ms = s->now_ms + fate->after_ms,
						      .outcome = fate->outcome };
	say(s, "%d.%u@%llu ", digit(next->family), number, (unsigned long long)s->now_ms);
}

/* The next thing that happens by itself at or before @until_ms; false: somebody has won. */
static bool happen(struct sim *s, uint64_t until_ms)
{
	uint64_t at = until_ms;

	for (enum dns_type type = 0; type < DNS_TYPE_COUNT; type++)
		if (!s->answered[type] && s->network->answer_ms[type] < at)
			at = s->network->answer_ms[type];
	for (unsigned i = 0; i < s->attempts; i++)
		if (s->running[i].on && s->running[i].end_ms < at)
			at = s->running[i].end_ms;
	assert_true(at != NEVER); /* it waits for nothing */
	s->now_ms = at;
	for (enum dns_type type = 0; type < DNS_TYPE_COUNT; type++)
		if (!s->answered[type] && s->network->answer_ms[type] == at)
			answer(s, type);
	for (unsigned i = 0; i < s->attempts; i++) {
		struct running *running = &s->running[i];

		if (!running->on || running->end_ms != at)
			continue;
		if (running->outcome == CONNECTS) {
			say(s, "won %d.%u@%llu", digit(running->family), running->number,
			    (unsigned long long)at);
			return false;
		}
		running->on = false;
		eyeballs_attempt_failed(&s->eyeballs, i);
	}
	return true;
}

static const char *simulate(struct sim *s, const struct network *network,
			    const struct eyeballs_rules *rules)
{
	*s = (struct sim){ .network = network };
	eyeballs_init(&s->eyeballs, rules);
	for (enum dns_type type = 0; type < DNS_TYPE_COUNT; type++)
		s->answered[type] = !eyeballs_wants(rules->strategy, type);
	for (;;) {
		struct eyeballs_next next = eyeballs_next(&s->eyeballs, s->now_ms);

		if (next.verdict == EYEBALLS_FAILED) {
			say(s, "failed@%llu", (unsigned long long)s->now_ms);
			return s->text;
		}
		if (next.verdict == EYEBALLS_START) {
			begin(s, &next);
			continue;
		}
		assert_true(next.until_ms > s->now_ms);
		if (!happen(s, next.until_ms))
			return s->text;
	}
}

static struct eyeballs_rules defaults(enum domain_strategy strategy)
{
	return (struct eyeballs_rules){ .strategy = strategy,
					.attempt_delay_ms = 250,
					.fallback_delay_ms = 300,
					.resolution_delay_ms = 50 };
}

static void test_matrix(void **state)
{
	static const char *const names[STRATEGY_COUNT] = { "prefer_ipv4", "prefer_ipv6",
							   "ipv4_only", "ipv6_only" };
	unsigned wrong = 0;
	struct sim s;

	for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
		for (enum domain_strategy strategy = 0; strategy < STRATEGY_COUNT; strategy++) {
			struct eyeballs_rules rules = defaults(strategy);
			const char *got = simulate(&s, &networks[i], &rules);

			if (!strcmp(got, networks[i].expected[strategy]))
				continue;
			wrong++;
			print_error("%s, %s:\n  got      %s\n  expected %s\n", networks[i].name,
				    names[strategy], got, networks[i].expected[strategy]);
		}
	}
	assert_int_equal(wrong, 0);
}

static void test_serial(void **state)
{
	const struct network hang = { "", { 10, 40 }, { 2, 2 }, { HANG, HANG }, { NULL } };
	const struct network mixed = { "", { 10, 10 }, { 2, 2 }, { CONNECT, REFUSE }, { NULL } };
	struct eyeballs_rules rules = defaults(STRATEGY_PREFER_IPV6);
	struct sim s;

	rules.serial = true;
	assert_string_equal(simulate(&s, &hang, &rules),
			    "6.0@40 4.0@5040 6.1@10040 4.1@15040 failed@20040");
	assert_string_equal(simulate(&s, &mixed, &rules), "6.0@10 4.0@30 won 4.0@50");
}

static void test_other_delays(void **state)
{
	const struct network hang = { "", { 10, 10 }, { 2, 3 }, { HANG, HANG }, { NULL } };
	const struct network late = { "", { 10, 90 }, { 1, 1 }, { CONNECT, CONNECT }, { NULL } };
	struct eyeballs_rules rules = defaults(STRATEGY_PREFER_IPV6);
	struct sim s;

	rules.fallback_delay_ms = 100; /* an attempt's delay holds for the fallback as well */
	assert_string_equal(simulate(&s, &hang, &rules),
			    "6.0@10 4.0@260 6.1@510 4.1@760 6.2@1010 failed@6010");
	rules.fallback_delay_ms = 1000;
	assert_string_equal(simulate(&s, &hang, &rules),
			    "6.0@10 4.0@1010 6.1@1260 4.1@1510 6.2@1760 failed@6760");
	rules.fallback_delay_ms = rules.attempt_delay_ms = 0; /* all at once */
	assert_string_equal(simulate(&s, &hang, &rules),
			    "6.0@10 4.0@10 6.1@10 4.1@10 6.2@10 failed@5010");
	rules.resolution_delay_ms = 0;
	assert_string_equal(simulate(&s, &late, &rules), "4.0@10 won 4.0@30");
	rules.resolution_delay_ms = 80; /* to the millisecond: the answer comes in time */
	assert_string_equal(simulate(&s, &late, &rules), "6.0@90 4.0@90 won 6.0@110");
	rules.fallback_delay_ms = rules.attempt_delay_ms = UINT32_MAX;
	assert_string_equal(simulate(&s, &late, &rules), "6.0@90 won 6.0@110");
}

/* As many as there may be, one more than there may be, all of them at the same time. */
static void test_most_addresses(void **state)
{
	const struct network most = {
		"", { 0, 0 }, { DNS_ADDRS_MAX + 1, DNS_ADDRS_MAX }, { HANG, HANG }, { NULL }
	};
	struct eyeballs_rules rules = defaults(STRATEGY_PREFER_IPV4);
	bool seen[DNS_TYPE_COUNT][DNS_ADDRS_MAX] = { 0 };
	struct sim s;

	rules.attempt_delay_ms = 100;
	simulate(&s, &most, &rules);
	assert_int_equal(s.attempts, EYEBALLS_ATTEMPTS_MAX);
	for (unsigned i = 0; i < s.attempts; i++) {
		assert_false(seen[s.running[i].family][s.running[i].number]);
		seen[s.running[i].family][s.running[i].number] = true;
	}
	assert_int_equal(s.now_ms, 300 + 30 * 100 + TIMEOUT_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_serial),
		cmocka_unit_test(test_other_delays),
		cmocka_unit_test(test_most_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
