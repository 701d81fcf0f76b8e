/* Random rules and connections: the verdict is what a slow and obvious evaluator says; threads. */
#include "naive.h"
#include <pthread.h>

#define CONFIGS 2000
#define METAS   50

static char *pick(unsigned *seed, char *const *words, size_t count)
{
	return words[(size_t)rand_r(seed) % count];
}

static bool one_in(unsigned *seed, unsigned n)
{
	return !((unsigned)rand_r(seed) / 7 % n);
}

/* What a random configuration is made of: given back all at once. */
static _Alignas(max_align_t) char arena[1 << 20];
static size_t arena_used;

static void *take(size_t size)
{
	void *taken = &arena[arena_used];

	arena_used += (size + 15) / 16 * 16;
	assert_true(arena_used <= sizeof(arena));
	return memset(taken, 0, size);
}

#define RANDOM_LIST(field, value)                                           \
	do {                                                                \
		(field).count = 1 + (size_t)rand_r(seed) % 3;               \
		(field).list = take((field).count * sizeof(*(field).list)); \
		for (size_t i_ = 0; i_ < (field).count; i_++)               \
			(field).list[i_] = (value);                         \
	} while (0)

static char *const domains[] = { "com", "a.com", "b.a.com",     "c.b.a.com", "ba.com", "com.a",
				 "a",   "b.com", "x.c.b.a.com", "c.a.com",   "aa.com", "a.a.a" };
static char *const suffixes[] = { "com",      ".com", "a.com", ".a.com", "b.a.com",
				  ".b.a.com", "a",    "a.a",   ".a",     "om" };
static char *const keywords[] = { "a", "b.a", "com", "xc", ".c.", "a.co", "" };
static char *const regexes[] = { "^a\\.", "A\\.COM$", "^([a-c]\\.)+com$", "x|y", "b.*a" };
static char *const addresses[] = { "10.1.2.3",        "10.1.2.4", "10.1.200.3",      "11.0.0.1",
				   "8.8.8.8",         "0.0.0.0",  "fd00::1",         "2001:db8::1",
				   "2001:db8:0:1::1", "::1",      "255.255.255.255", "128.0.0.1" };
static char *const names[] = { "eth0", "eth1", "lan" };

static struct config_prefix random_prefix(unsigned *seed)
{
	static const uint8_t bits4[] = { 0, 1, 7, 8, 16, 24, 31, 32 };
	static const uint8_t bits6[] = { 0, 3, 7, 32, 63, 64, 127, 128 };
	struct config_prefix random = prefix(pick(seed, addresses, ARRAY_SIZE(addresses)), 0);
	unsigned i = (unsigned)rand_r(seed) % 8;

	random.bits = random.addr.family == AF_INET ? bits4[i] : bits6[i];
	return random;
}

static void random_destination(unsigned *seed, struct config_match *match, size_t sets)
{
	if (one_in(seed, 3))
		RANDOM_LIST(match->domain, pick(seed, domains, ARRAY_SIZE(domains)));
	if (one_in(seed, 3))
		RANDOM_LIST(match->domain_suffix, pick(seed, suffixes, ARRAY_SIZE(suffixes)));
	if (one_in(seed, 12))
		RANDOM_LIST(match->domain_keyword, pick(seed, keywords, ARRAY_SIZE(keywords)));
	if (one_in(seed, 25))
		RANDOM_LIST(match->domain_regex, pick(seed, regexes, ARRAY_SIZE(regexes)));
	if (one_in(seed, 4))
		RANDOM_LIST(match->ip_cidr, random_prefix(seed));
	if (sets && one_in(seed, 6))
		RANDOM_LIST(match->rule_sets, (size_t)rand_r(seed) % sets);
	match->ip_is_private = one_in(seed, 15);
}

static struct config_ports random_ports(unsigned *seed)
{
	uint16_t first = (uint16_t)(rand_r(seed) % 5), more = (uint16_t)(rand_r(seed) % 2);

	return (struct config_ports){ first, (uint16_t)(first + more) };
}

static void random_origin(unsigned *seed, struct config_match *match)
{
	if (one_in(seed, 4))
		RANDOM_LIST(match->source_ip_cidr, random_prefix(seed));
	if (one_in(seed, 12))
		RANDOM_LIST(match->inbounds, (size_t)rand_r(seed) % 3);
	if (one_in(seed, 12))
		RANDOM_LIST(match->marks, (uint32_t)rand_r(seed) % 3);
	if (one_in(seed, 12))
		RANDOM_LIST(match->interfaces, pick(seed, names, ARRAY_SIZE(names)));
	if (one_in(seed, 12))
		RANDOM_LIST(match->source_mac,
			    ((struct config_mac){ { 0, 0, 0, 0, 0, rand_r(seed) % 3 } }));
	match->source_ip_is_private = one_in(seed, 15);
}

static struct config_match random_match(unsigned *seed, size_t sets, unsigned depth)
{
	struct config_match match = { .invert = one_in(seed, 8) };

	if (depth && one_in(seed, 8)) {
		match.logical = true;
		match.any = one_in(seed, 2);
		RANDOM_LIST(match.rules, random_match(seed, sets, depth - 1));
		return match;
	}
	if (one_in(seed, 8))
		match.networks = 1U << rand_r(seed) % 2;
	if (one_in(seed, 12))
		match.protocols = (uint32_t)rand_r(seed) % 16;
	if (one_in(seed, 12))
		match.dscp = (uint64_t)rand_r(seed) % 16;
	if (one_in(seed, 8))
		RANDOM_LIST(match.ports, random_ports(seed));
	if (one_in(seed, 12))
		RANDOM_LIST(match.source_ports, random_ports(seed));
	random_origin(seed, &match);
	random_destination(seed, &match, sets);
	return match;
}

static struct config random_config(unsigned *seed)
{
	struct config config = { .final_outbound = 77, .dns.final = 88 };

	arena_used = 0;
	config.rule_sets.count = (size_t)rand_r(seed) % 3;
	config.rule_sets.list = take(3 * sizeof(*config.rule_sets.list));
	for (size_t i = 0; i < config.rule_sets.count; i++)
		RANDOM_LIST(config.rule_sets.list[i].rules, random_match(seed, 0, 2));
	config.rules.count = (size_t)rand_r(seed) % 20;
	config.rules.list = take(20 * sizeof(*config.rules.list));
	for (size_t i = 0; i < config.rules.count; i++) {
		struct config_rule *rule = &config.rules.list[i];

		rule->match = random_match(seed, config.rule_sets.count, 3);
		rule->action = (enum rule_action)(rand_r(seed) % ACTION_COUNT);
		rule->outbound = i;
		rule->options.override_port = (uint16_t)(i + 1);
	}
	config.dns.rules.count = (size_t)rand_r(seed) % 4;
	config.dns.rules.list = take(4 * sizeof(*config.dns.rules.list));
	for (size_t i = 0; i < config.dns.rules.count; i++) {
		config.dns.rules.list[i].match = random_match(seed, config.rule_sets.count, 1);
		config.dns.rules.list[i].server = i;
	}
	return config;
}

static struct addr random_address(unsigned *seed)
{
	return address(pick(seed, addresses, ARRAY_SIZE(addresses)), (uint16_t)(rand_r(seed) % 6));
}

static struct route_meta random_meta(unsigned *seed, struct addr *resolved, uint8_t *mac)
{
	struct route_meta meta = { .inbound = (size_t)rand_r(seed) % 3,
				   .network = 1U << rand_r(seed) % 2,
				   .source = random_address(seed),
				   .protocol = (enum protocol)(rand_r(seed) % 4),
				   .mark = (uint32_t)rand_r(seed) % 3,
				   .dscp = (uint8_t)(rand_r(seed) % 4) };

	if (!one_in(seed, 4))
		meta.domain = pick(seed, domains, ARRAY_SIZE(domains));
	if (!meta.domain || !one_in(seed, 3))
		meta.destination = random_address(seed);
	if (one_in(seed, 3))
		meta.interface = pick(seed, names, ARRAY_SIZE(names));
	mac[5] = (uint8_t)(rand_r(seed) % 3);
	if (one_in(seed, 3))
		meta.source_mac = mac;
	meta.resolved = resolved;
	if (one_in(seed, 3))
		meta.resolved_count = (size_t)rand_r(seed) % (ROUTE_RESOLVED_MAX + 1);
	for (size_t i = 0; i < meta.resolved_count; i++)
		resolved[i] = random_address(seed);
	return meta;
}

/* Where route_decide() should stop, and the override_port of the last rule that sets options. */
static size_t naive_decide(const struct config *config, const struct route_meta *meta, size_t from,
			   uint16_t *port)
{
	for (size_t i = from;; i++) {
		const struct config_rule *rule;

		i = naive_first(config, meta, i);
		if (i >= config->rules.count)
			return config->rules.count;
		rule = &config->rules.list[i];
		if (rule->action == ACTION_ROUTE || rule->action == ACTION_ROUTE_OPTIONS)
			*port = rule->options.override_port;
		if (rule->action != ACTION_ROUTE_OPTIONS)
			return i;
	}
}

static void compare(const struct config *config, const struct route_rules *rules,
		    const struct route_meta *meta)
{
	struct route_verdict verdict = { 0 };
	uint16_t port = 0;
	size_t rule;

	for (size_t from = 0; from <= config->rules.count; from = verdict.rule + 1) {
		rule = naive_decide(config, meta, from, &port);
		route_decide(rules, meta, from, &verdict);
		assert_int_equal(verdict.rule, rule);
		assert_int_equal(verdict.options.override_port, port);
		if (rule == config->rules.count)
			assert_int_equal(verdict.outbound, 77);
		else
			assert_int_equal(verdict.action, config->rules.list[rule].action);
	}
	assert_int_equal(route_dns_server(rules, meta), naive_dns_server(config, meta));
}

static void test_random_rules(void **state)
{
	struct addr resolved[ROUTE_RESOLVED_MAX];
	uint8_t mac[6] = { 0 };
	unsigned seed;

	for (unsigned i = 0; i < CONFIGS; i++) {
		struct config config;
		struct route_rules *rules;

		seed = i;
		config = random_config(&seed);
		rules = compiled(&config);
		for (unsigned k = 0; k < METAS; k++) {
			struct route_meta meta = random_meta(&seed, resolved, mac);

			compare(&config, rules, &meta);
		}
		route_rules_free(rules);
	}
}

static void *decide_often(void *data)
{
	struct addr resolved[ROUTE_RESOLVED_MAX];
	const struct route_rules *rules = data;
	uintptr_t sum = 0;
	uint8_t mac[6] = { 0 };
	unsigned seed = 1;

	for (unsigned i = 0; i < 2000; i++) {
		struct route_meta meta = random_meta(&seed, resolved, mac);
		struct route_verdict verdict = { 0 };

		route_decide(rules, &meta, 0, &verdict);
		sum = sum * 31 + verdict.rule;
	}
	return (void *)sum;
}

static void test_threads_share_rules(void **state)
{
	struct config_rule list[] = {
		{ .match = { .domain_regex = STRINGS("^([a-c]\\.)+com$", "b.*a") } },
		{ .match = { .domain_keyword = STRINGS("a.a") } },
		{ .match = { .ip_cidr = PREFIXES(prefix("10.0.0.0", 8)) } },
	};
	struct config config = { .rules = { list, ARRAY_SIZE(list) } };
	struct route_rules *rules = compiled(&config);
	void *sums[4], *expected = decide_often(rules);
	pthread_t threads[4];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, decide_often, rules), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &sums[i]), 0);
		assert_ptr_equal(sums[i], expected);
	}
	route_rules_free(rules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_rules),
		cmocka_unit_test(test_threads_share_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
