/* Many rules: the same answers as the naive evaluator, and how long they take. Fails at ten times
 * the target only, and only in an optimised build without sanitizers. */
#include "naive.h"
#include <time.h>

#define RULES     10000
#define NAMES     10 /* of a rule */
#define SETS      100
#define SET_NAMES 1000
#define KEYWORDS  1000
#define TIMES     200000

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define MEASURED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MEASURED 0
#endif
#endif
#ifndef MEASURED
#define MEASURED 1
#endif

#define COMPARED         (MEASURED ? 300 : 60) /* with the naive one, which is slow */
#define LOAD_TARGET_MS   1000.0
#define DECIDE_TARGET_US 5.0

static double now_us(void)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void *zeroed(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	assert_non_null(memory);
	return memory;
}

/* One of a hundred names is taken twice. */
static char *name_of(unsigned n)
{
	char *name = NULL;

	n -= n % 100 == 99;
	assert_true(asprintf(&name, "host%u.site%u.%s", n, n / 7, n % 3 ? "example.com" : "net") >
		    0);
	return name;
}

static char **names_of(unsigned first, size_t count)
{
	char **list = zeroed(count, sizeof(*list));

	for (size_t i = 0; i < count; i++)
		list[i] = name_of(first + (unsigned)i);
	return list;
}

static void free_names(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

static void ask(const char *const *names, unsigned i, struct route_meta *meta)
{
	*meta = (struct route_meta){ .network = 1U + i / 16 % 2, .domain = names[i % 1024] };
	meta->source = (struct addr){ .family = AF_INET, .v4.s_addr = htonl(0x0a000000 + i) };
	meta->destination = (struct addr){ .family = AF_INET,
					   .port = i % 2 ? 443 : 80,
					   .v4.s_addr = htonl(i * 2654435761U) };
}

static void compare(const struct config *config, const struct route_rules *rules,
		    const char *const *names)
{
	unsigned matched = 0;

	for (unsigned i = 0; i < COMPARED; i++) {
		struct route_verdict verdict = { 0 };
		struct route_meta meta;

		ask(names, i * 7919, &meta);
		route_decide(rules, &meta, 0, &verdict);
		assert_int_equal(verdict.rule, naive_first(config, &meta, 0));
		matched += verdict.rule < config->rules.count;
	}
	assert_in_range(matched, COMPARED / 10, COMPARED - COMPARED / 10);
}

static double decide_often(const struct route_rules *rules, const char *const *names)
{
	double before = now_us();

	for (unsigned i = 0; i < TIMES; i++) {
		struct route_verdict verdict = { 0 };
		struct route_meta meta;

		ask(names, i * 7919, &meta);
		route_decide(rules, &meta, 0, &verdict);
	}
	return (now_us() - before) / TIMES;
}

static void measure(const char *what, const struct config *config, const char *const *names)
{
	double before = now_us();
	struct route_rules *rules = compiled(config);
	double load_ms = (now_us() - before) / 1e3;

	print_message("%s: loaded in %.1f ms\n", what, load_ms);
	compare(config, rules, names);
	if (MEASURED) {
		double decide_us = decide_often(rules, names);

		print_message("%s: %.3f us a decision\n", what, decide_us);
		assert_true(load_ms < 10 * LOAD_TARGET_MS);
		assert_true(decide_us < 10 * DECIDE_TARGET_US);
	}
	route_rules_free(rules);
}

/* Names to ask for: half of them are in some rule, or below one. */
static char **questions(void)
{
	char **list = zeroed(1024, sizeof(*list));

	for (unsigned i = 0; i < 1024; i++) {
		char *name = name_of(i * 97 % (RULES * NAMES));

		if (i % 4 < 2)
			assert_true(asprintf(&list[i], "www.a%s%s", i % 4 ? "." : "", name) > 0);
		else
			list[i] = strdup(name);
		free(name);
	}
	return list;
}

static struct config_rule *many_rules(void)
{
	struct config_rule *list = zeroed(RULES, sizeof(*list));

	for (unsigned i = 0; i < RULES; i++) {
		struct config_match *match = &list[i].match;

		if (i % 2)
			match->domain.list = names_of(i * NAMES, NAMES);
		else
			match->domain_suffix.list = names_of(i * NAMES, NAMES);
		match->domain.count = i % 2 ? NAMES : 0;
		match->domain_suffix.count = i % 2 ? 0 : NAMES;
		match->networks = i % 5 ? 0 : CONFIG_NETWORK_UDP;
	}
	return list;
}

static void free_many_rules(struct config_rule *list)
{
	for (unsigned i = 0; i < RULES; i++)
		free_names(i % 2 ? list[i].match.domain.list : list[i].match.domain_suffix.list,
			   NAMES);
	free(list);
}

static void test_rules_with_domains(void **state)
{
	struct config_rule *list = many_rules();
	struct config config = { .rules = { list, RULES } };
	char **names = questions();

	measure("10000 rules, 100000 domains", &config, (const char *const *)names);
	free_many_rules(list);
	free_names(names, 1024);
}

/* With networks of the destination in every third rule, and of the source in every fifth. */
static void test_rules_with_networks(void **state)
{
	struct config_prefix *prefixes = zeroed(RULES, sizeof(*prefixes));
	struct config_rule *list = many_rules();
	struct config config = { .rules = { list, RULES } };
	char **names = questions();

	for (unsigned i = 0; i < RULES; i++) {
		struct config_match *match = &list[i].match;

		prefixes[i].addr.family = AF_INET;
		prefixes[i].addr.v4.s_addr = htonl(i * 40503U << 12);
		prefixes[i].bits = (uint8_t)(14 + i % 19);
		match->ip_cidr.list = match->source_ip_cidr.list = &prefixes[i];
		match->ip_cidr.count = !(i % 3);
		match->source_ip_cidr.count = !(i % 5);
	}
	measure("and 5333 networks", &config, (const char *const *)names);
	free_many_rules(list);
	free_names(names, 1024);
	free(prefixes);
}

static void test_rule_sets(void **state)
{
	static struct config_rule_set sets[SETS];
	static struct config_match inside[SETS];
	static struct config_rule list[SETS];
	static size_t indexes[SETS];
	struct config config = { .rules = { list, SETS }, .rule_sets = { sets, SETS } };
	char **names = questions();

	for (unsigned i = 0; i < SETS; i++) {
		inside[i].domain_suffix.list = names_of(i * SET_NAMES, SET_NAMES);
		inside[i].domain_suffix.count = SET_NAMES;
		sets[i].rules.list = &inside[i];
		sets[i].rules.count = 1;
		indexes[i] = i;
		list[i].match.rule_sets.list = &indexes[i];
		list[i].match.rule_sets.count = 1;
	}
	measure("100 rule sets, 100000 domains", &config, (const char *const *)names);
	for (unsigned i = 0; i < SETS; i++)
		free_names(inside[i].domain_suffix.list, SET_NAMES);
	free_names(names, 1024);
}

static void test_keywords(void **state)
{
	char **keywords = zeroed(KEYWORDS, sizeof(*keywords));
	struct config_rule rule = { .match.domain_keyword = { keywords, KEYWORDS } };
	struct config config = { .rules = { &rule, 1 } };
	char **names = questions();

	for (unsigned i = 0; i < KEYWORDS; i++)
		assert_true(asprintf(&keywords[i], "site%u%s", i * 3, i % 2 ? ".n" : "") > 0);
	measure("1000 keywords", &config, (const char *const *)names);
	free_names(keywords, KEYWORDS);
	free_names(names, 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_with_domains),
		cmocka_unit_test(test_rules_with_networks),
		cmocka_unit_test(test_rule_sets),
		cmocka_unit_test(test_keywords),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
