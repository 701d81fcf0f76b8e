/* Names, suffixes, keywords and expressions, each with one rule; and a table of many names. */
#include "naive.h"
#include <time.h>
#include "route/domains.h"
#include "route/keywords.h"
#include "route/regex.h"

enum kind { DOMAIN, SUFFIX, KEYWORD, REGEX };

static bool holds(enum kind kind, const char *text, const char *name)
{
	char *list[] = { (char *)text };
	struct config_rule rule = { .action = ACTION_REJECT };
	struct config config = { .rules = { &rule, 1 } };
	struct route_meta meta = { .domain = name };
	struct route_verdict verdict = { 0 };
	struct route_rules *rules;

	if (kind == DOMAIN)
		rule.match = (struct config_match){ .domain = { list, 1 } };
	else if (kind == SUFFIX)
		rule.match = (struct config_match){ .domain_suffix = { list, 1 } };
	else if (kind == KEYWORD)
		rule.match = (struct config_match){ .domain_keyword = { list, 1 } };
	else
		rule.match = (struct config_match){ .domain_regex = { list, 1 } };
	rules = compiled(&config);
	route_decide(rules, &meta, 0, &verdict);
	route_rules_free(rules);
	return verdict.action == ACTION_REJECT;
}

static void test_one_rule(void **state)
{
	static const struct {
		const char *text, *name;
		enum kind kind;
		bool holds;
	} cases[] = {
		{ "example.org", "example.org", DOMAIN, true },
		{ "example.org", "www.example.org", DOMAIN, false },
		{ "example.org", "org", DOMAIN, false },
		{ "org", "org", DOMAIN, true },
		{ "example.org", "example.org", SUFFIX, true },
		{ "example.org", "a.b.example.org", SUFFIX, true },
		{ "example.org", "badexample.org", SUFFIX, false },
		{ "example.org", "example.org.net", SUFFIX, false },
		{ ".example.org", "example.org", SUFFIX, false },
		{ ".example.org", "www.example.org", SUFFIX, true },
		{ ".example.org", "a.b.example.org", SUFFIX, true },
		{ ".example.org", "wwwexample.org", SUFFIX, false },
		{ "org", "example.org", SUFFIX, true },
		{ "org", "cyborg", SUFFIX, false },
		{ "example.org", NULL, SUFFIX, false },
		{ "amp", "example.org", KEYWORD, true },
		{ "e.o", "example.org", KEYWORD, true },
		{ "example.org", "example.org", KEYWORD, true },
		{ "example.org", "xample.org", KEYWORD, false },
		{ "x", "example.org", KEYWORD, true },
		{ "z", "example.org", KEYWORD, false },
		{ "exle", "example.org", KEYWORD, false },
		{ "", "example.org", KEYWORD, true },
		{ "", NULL, KEYWORD, false },
		{ "^EX.*\\.ORG$", "example.org", REGEX, true },
		{ "^stun\\d*\\..+", "stun3.example.org", REGEX, true },
		{ "^stun\\d*\\..+", "xstun3.example.org", REGEX, false },
		{ "(?!www)[a-z]{3}\\.com", "abc.com", REGEX, true },
		{ "", "a", REGEX, true },
		{ ".*", NULL, REGEX, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (holds(cases[i].kind, cases[i].text, cases[i].name) != cases[i].holds)
			fail_msg("%zu: \"%s\" and \"%s\"", i, cases[i].text, cases[i].name);
}

static double cpu_seconds(void)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Without its limits this takes longer than anybody waits. */
static void run_away(const char *options)
{
	pcre2_match_context *limits = route_regex_limits();
	struct route_regex_work work = { 0 };
	char name[254], pattern[64], reason[128];
	struct route_regex regex = { 0 };
	double before;

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 2] = 'b';
	name[sizeof(name) - 1] = '\0';
	snprintf(pattern, sizeof(pattern), "%s^(a|aa|a?a)+c?$", options);
	assert_non_null(limits);
	assert_int_equal(route_regex_compile(pattern, &regex, reason, sizeof(reason)), 0);
	before = cpu_seconds();
	assert_false(route_regex_holds(&regex, limits, &work, name));
	assert_true(cpu_seconds() - before < 0.2);
	assert_true(route_regex_holds(&regex, limits, &work, "aac"));
	route_regex_deinit(&regex);
	route_regex_work_deinit(&work);
	pcre2_match_context_free(limits);
}

static void test_expressions_cannot_run_away(void **state)
{
	run_away("");
	run_away("(*NO_JIT)");
}

static void test_bad_expressions(void **state)
{
	static const char *const patterns[] = { "(", "[a", "*", "a{2,1}", "(?<n>a)(?<n>b)", "\\" };
	struct route_regex regex = { 0 };
	char reason[128];

	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		reason[0] = '\0';
		assert_int_equal(route_regex_compile(patterns[i], &regex, reason, sizeof(reason)),
				 -EINVAL);
		assert_non_null(strstr(reason, " at offset "));
		assert_null(regex.code);
	}
}

static void test_keywords_in_long_names(void **state)
{
	char name[254];

	for (size_t i = 0; i < sizeof(name) - 1; i++)
		name[i] = (char)('a' + i * i % 23);
	name[sizeof(name) - 1] = '\0';
	for (size_t length = 0; length < 6; length++)
		for (size_t i = 0; i + length < sizeof(name); i++) {
			char text[8] = "";
			struct route_keyword keyword;
			struct route_pairs pairs;

			memcpy(text, &name[i], length);
			keyword = route_keyword_of(text);
			route_pairs_init(&pairs, name);
			assert_true(route_keywords_hold(&keyword, 1, &pairs));
			keyword = route_keyword_of("aaaa");
			assert_false(route_keywords_hold(&keyword, 1, &pairs));
		}
}

/* Every name has the lists of all names above it, and of no other. */
static void test_table_of_many(void **state)
{
	enum { COUNT = 3000 };
	static char *names[COUNT];
	struct route_domains table;

	assert_int_equal(route_domains_init(&table, COUNT), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		if (i < 10)
			assert_true(asprintf(&names[i], "d%u", i) > 0);
		else
			assert_true(asprintf(&names[i], "n%u.%s", i, names[i / 10]) > 0);
		route_domains_add_suffix(&table, names[i], i);
	}
	assert_int_equal(route_domains_seal(&table), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		uint32_t list = route_domains_find(&table, names[i]), up = i;
		char below[64];

		for (uint32_t id = COUNT; id--;) {
			assert_int_equal(route_chains_have(&table.chains, list, id), id == up);
			if (id == up && up >= 10)
				up /= 10;
		}
		assert_int_equal(route_chains_next(&table.chains, list, i), i);
		assert_int_equal(route_chains_next(&table.chains, list, i + 1), ROUTE_END);
		snprintf(below, sizeof(below), "x.y.%s", names[i]);
		list = route_domains_find(&table, below);
		assert_true(route_chains_have(&table.chains, list, i));
		snprintf(below, sizeof(below), "xx%s", names[i]);
		list = route_domains_find(&table, below);
		assert_false(route_chains_have(&table.chains, list, i));
	}
	assert_int_equal(route_domains_find(&table, "other"), ROUTE_END);
	route_domains_deinit(&table);
	route_domains_deinit(&table);
	for (uint32_t i = 0; i < COUNT; i++)
		free(names[i]);
}

static void test_empty_table(void **state)
{
	struct route_domains table;

	assert_int_equal(route_domains_init(&table, 0), 0);
	assert_int_equal(route_domains_seal(&table), 0);
	assert_int_equal(route_domains_find(&table, "a.test"), ROUTE_END);
	route_domains_deinit(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_rule),
		cmocka_unit_test(test_expressions_cannot_run_away),
		cmocka_unit_test(test_bad_expressions),
		cmocka_unit_test(test_keywords_in_long_names),
		cmocka_unit_test(test_table_of_many),
		cmocka_unit_test(test_empty_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
