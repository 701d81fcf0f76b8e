/* Actions, options, how conditions are grouped and nested, rule sets, what is said of bad rules. */
#include "naive.h"

#define ROUTE(match_, to)                                                 \
	{                                                                 \
		.match = match_, .action = ACTION_ROUTE, .outbound = (to) \
	}
#define MATCH(...) ((struct config_match){ __VA_ARGS__ })
#define RULES(...) LIST((struct config_rule[]){ __VA_ARGS__ })

static struct route_meta meta_of(const char *domain, const char *destination)
{
	struct route_meta meta = { .network = CONFIG_NETWORK_TCP, .domain = domain };

	meta.source = address("192.0.2.9", 40000);
	if (destination)
		meta.destination = address(destination, 443);
	else
		meta.destination.port = 443;
	return meta;
}

static bool holds(const struct config_match *match, const struct route_meta *meta)
{
	struct config_rule rule = { .match = *match, .action = ACTION_REJECT };
	struct config config = { .rules = { .list = &rule, .count = 1 } };
	struct route_rules *rules = compiled(&config);
	struct route_verdict verdict = { 0 };

	route_decide(rules, meta, 0, &verdict);
	route_rules_free(rules);
	assert_int_equal(verdict.rule == 0, naive_holds(&config, match, meta));
	return verdict.action == ACTION_REJECT;
}

static void test_stops_and_goes_on(void **state)
{
	struct config_rule list[] = {
		{ .action = ACTION_SNIFF },
		{ .match = { .networks = CONFIG_NETWORK_UDP }, .action = ACTION_REJECT },
		{ .action = ACTION_ROUTE_OPTIONS },
		{ .action = ACTION_RESOLVE },
		{ .match = { .domain = STRINGS("dns.test") }, .action = ACTION_HIJACK_DNS },
		ROUTE({ .domain = STRINGS("a.test") }, 7),
	};
	struct config config = { .rules = { list, ARRAY_SIZE(list) }, .final_outbound = 3 };
	struct route_rules *rules = compiled(&config);
	struct route_meta meta = meta_of(NULL, "198.51.100.1");
	struct route_verdict verdict = { 0 };

	route_decide(rules, &meta, 0, &verdict);
	assert_int_equal(verdict.action, ACTION_SNIFF);
	assert_ptr_equal(verdict.config, &list[0]);
	meta.domain = "a.test";
	route_decide(rules, &meta, verdict.rule + 1, &verdict);
	assert_int_equal(verdict.action, ACTION_RESOLVE);
	assert_int_equal(verdict.rule, 3);
	route_decide(rules, &meta, verdict.rule + 1, &verdict);
	assert_int_equal(verdict.action, ACTION_ROUTE);
	assert_int_equal(verdict.outbound, 7);
	assert_ptr_equal(verdict.config, &list[5]);
	for (size_t from = verdict.rule + 1; from < 9; from++) {
		route_decide(rules, &meta, from, &verdict);
		assert_int_equal(verdict.action, ACTION_ROUTE);
		assert_int_equal(verdict.rule, ARRAY_SIZE(list));
		assert_null(verdict.config);
		assert_int_equal(verdict.outbound, 3);
	}
	meta.domain = "dns.test";
	route_decide(rules, &meta, 4, &verdict);
	assert_int_equal(verdict.action, ACTION_HIJACK_DNS);
	meta.network = CONFIG_NETWORK_UDP;
	route_decide(rules, &meta, 1, &verdict);
	assert_int_equal(verdict.action, ACTION_REJECT);
	route_rules_free(rules);
	route_rules_free(NULL);
}

static void test_no_rules(void **state)
{
	struct config config = { .final_outbound = 2, .dns = { .final = 1 } };
	struct route_rules *rules = compiled(&config);
	struct route_meta meta = meta_of("a.test", NULL);
	struct route_verdict verdict = { 0 };

	route_decide(rules, &meta, 0, &verdict);
	assert_int_equal(verdict.outbound, 2);
	assert_int_equal(verdict.rule, 0);
	assert_null(verdict.config);
	assert_int_equal(route_dns_server(rules, &meta), 1);
	route_rules_free(rules);
}

static void test_options_are_merged(void **state)
{
	struct config_rule list[] = {
		{ .action = ACTION_ROUTE_OPTIONS,
		  .options = { .override_address = "one.test",
			       .override_port = 1,
			       .has_network_strategy = true,
			       .network_strategy = NETWORK_FALLBACK,
			       .has_fallback_delay = true,
			       .fallback_delay_ms = 5,
			       .udp_connect = true,
			       .tls_fragment = true,
			       .tls_fragment_fallback_delay_ms = 500 } },
		{ .action = ACTION_SNIFF },
		{ .match = { .networks = CONFIG_NETWORK_UDP },
		  .action = ACTION_ROUTE_OPTIONS,
		  .options = { .override_port = 99 } },
		{ .action = ACTION_ROUTE_OPTIONS,
		  .options = { .override_address = "two.test",
			       .has_fallback_delay = true,
			       .has_tls_delay = true,
			       .tls_fragment_fallback_delay_ms = 7 } },
		{ .action = ACTION_REJECT,
		  .match = { .networks = CONFIG_NETWORK_UDP },
		  .options = { .override_port = 98 } },
		{ .action = ACTION_ROUTE,
		  .outbound = 1,
		  .options = { .has_udp_timeout = true,
			       .udp_timeout_ms = 6,
			       .udp_disable_domain_unmapping = true,
			       .tls_fragment = true,
			       .tls_record_fragment = true,
			       .tls_fragment_fallback_delay_ms = 500 } },
	};
	struct config config = { .rules = { list, ARRAY_SIZE(list) } };
	struct route_rules *rules = compiled(&config);
	struct route_meta meta = meta_of(NULL, "198.51.100.1");
	struct route_verdict verdict = { 0 };
	const struct route_options *options = &verdict.options;

	route_decide(rules, &meta, 0, &verdict);
	assert_int_equal(verdict.action, ACTION_SNIFF);
	assert_string_equal(options->override_address, "one.test");
	assert_int_equal(options->tls_fragment_fallback_delay_ms, 500);
	assert_false(options->has_udp_timeout);
	route_decide(rules, &meta, verdict.rule + 1, &verdict);
	assert_int_equal(verdict.outbound, 1);
	assert_string_equal(options->override_address, "two.test");
	assert_int_equal(options->override_port, 1);
	assert_true(options->has_network_strategy);
	assert_int_equal(options->network_strategy, NETWORK_FALLBACK);
	assert_true(options->has_fallback_delay);
	assert_int_equal(options->fallback_delay_ms, 0);
	assert_true(options->has_udp_timeout);
	assert_int_equal(options->udp_timeout_ms, 6);
	assert_true(options->udp_connect && options->udp_disable_domain_unmapping);
	assert_true(options->tls_fragment && options->tls_record_fragment);
	assert_int_equal(options->tls_fragment_fallback_delay_ms, 7);
	route_rules_free(rules);
}

static void test_groups(void **state)
{
	struct config_match match = { .domain = STRINGS("a.test"),
				      .ip_cidr = PREFIXES(prefix("198.51.100.0", 24)),
				      .ports = LIST((struct config_ports[]){ { 80, 80 },
									     { 400, 500 } }) };
	struct route_meta meta = meta_of("a.test", "203.0.113.1");
	struct addr resolved[2];

	assert_true(holds(&match, &meta));
	meta.destination.port = 81;
	assert_false(holds(&match, &meta));
	meta.destination.port = 80;
	assert_true(holds(&match, &meta));
	meta.domain = "b.test";
	assert_false(holds(&match, &meta));
	resolved[0] = address("203.0.113.2", 0);
	resolved[1] = address("198.51.100.255", 0);
	meta.resolved = resolved;
	meta.resolved_count = 1;
	assert_false(holds(&match, &meta));
	meta.resolved_count = 2;
	assert_true(holds(&match, &meta));
	match.invert = true;
	assert_false(holds(&match, &meta));
}

static void test_source_group(void **state)
{
	struct config_match match = { .source_ip_cidr = PREFIXES(prefix("198.51.100.0", 24)) };
	struct route_meta meta = meta_of("a.test", NULL);

	assert_false(holds(&match, &meta));
	meta.source = address("198.51.100.3", 1);
	assert_true(holds(&match, &meta));
	match.source_ip_is_private = true;
	assert_true(holds(&match, &meta));
	meta.source = address("10.1.1.1", 1);
	assert_true(holds(&match, &meta));
	match = MATCH(.source_ip_cidr = PREFIXES(prefix("10.0.0.0", 8)),
		      .domain = STRINGS("a.test"));
	assert_true(holds(&match, &meta));
	meta.domain = "b.test";
	assert_false(holds(&match, &meta));
}

static void test_nothing_given_and_nesting(void **state)
{
	struct config_match inside[] = {
		{ .networks = CONFIG_NETWORK_TCP },
		{ .domain_suffix = STRINGS("test") },
		{ .logical = true,
		  .any = true,
		  .rules = LIST((struct config_match[]){
			  { .marks = LIST((uint32_t[]){ 5 }) },
			  { .interfaces = STRINGS("eth1"), .invert = true } }) },
	};
	struct config_match match = { 0 };
	struct route_meta meta = meta_of("a.test", NULL);

	assert_true(holds(&match, &meta));
	match.invert = true;
	assert_false(holds(&match, &meta));
	match = MATCH(.logical = true, .rules = { inside, ARRAY_SIZE(inside) });
	assert_true(holds(&match, &meta));
	meta.interface = "eth1";
	assert_false(holds(&match, &meta));
	meta.mark = 5;
	assert_true(holds(&match, &meta));
	meta.domain = "a.example";
	assert_false(holds(&match, &meta));
	match.any = true;
	assert_true(holds(&match, &meta));
	match.invert = true;
	assert_false(holds(&match, &meta));
}

static void test_rule_sets(void **state)
{
	struct config_match first[] = { { .domain_suffix = STRINGS("ads.test") },
					{ .networks = CONFIG_NETWORK_UDP,
					  .domain = STRINGS("quic.test") } };
	struct config_match second[] = { { .ip_cidr = PREFIXES(prefix("2001:db8::", 32)) } };
	struct config_rule_set sets[] = { { .rules = { first, 2 } }, { .rules = { second, 1 } } };
	struct config_rule list[] = {
		ROUTE({ .rule_sets = INDEXES(1) }, 1),
		{ .match = { .rule_sets = INDEXES(0), .domain = STRINGS("also.test") },
		  .action = ACTION_REJECT },
	};
	struct config config = { .rules = { list, 2 },
				 .rule_sets = { sets, 2 },
				 .final_outbound = 9 };
	struct route_rules *rules = compiled(&config);
	struct {
		const char *domain, *destination;
		size_t rule;
	} cases[] = { { "x.ads.test", NULL, 1 },  { "also.test", NULL, 1 },
		      { "quic.test", NULL, 2 },   { NULL, "2001:db8::1", 0 },
		      { NULL, "2001:db9::1", 2 }, { "ads.test", "2001:db8::1", 0 },
		      { "badads.test", NULL, 2 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct route_meta meta = meta_of(cases[i].domain, cases[i].destination);
		struct route_verdict verdict = { 0 };

		route_decide(rules, &meta, 0, &verdict);
		assert_int_equal(verdict.rule, cases[i].rule);
	}
	route_rules_free(rules);
}

static void test_dns_server(void **state)
{
	struct config_dns_rule list[] = {
		{ .match = { .domain_suffix = STRINGS("lan") }, .server = 4 },
		{ .match = { .inbounds = INDEXES(2), .domain_keyword = STRINGS("x") },
		  .server = 5 },
		{ .match = { .source_ip_cidr = PREFIXES(prefix("10.0.0.0", 8)) }, .server = 6 },
	};
	struct config_rule reject = { .action = ACTION_REJECT };
	struct config config = { .rules = { &reject, 1 },
				 .dns = { .final = 1, .rules = { list, ARRAY_SIZE(list) } } };
	struct route_rules *rules = compiled(&config);
	struct route_meta meta = meta_of("nas.lan", NULL);

	meta.inbound = 2;
	assert_int_equal(route_dns_server(rules, &meta), 4);
	meta.domain = "box.example";
	assert_int_equal(route_dns_server(rules, &meta), 5);
	meta.domain = "b.example.com";
	assert_int_equal(route_dns_server(rules, &meta), 5);
	meta.inbound = 1;
	assert_int_equal(route_dns_server(rules, &meta), 1);
	meta.source = address("10.0.0.9", 1);
	assert_int_equal(route_dns_server(rules, &meta), 6);
	route_rules_free(rules);
}

static struct route_needs needs_of(const struct config_match *rule,
				   const struct config_match *in_set)
{
	struct config_match nested = { .logical = true,
				       .rules = { (struct config_match *)in_set, 1 } };
	struct config_rule_set set = { .rules = { &nested, 1 } };
	struct config_rule route = { .match = *rule };
	struct config config = { .rules = { &route, 1 }, .rule_sets = { &set, 1 } };
	struct route_rules *rules = compiled(&config);
	struct route_needs needs = route_rules_need(rules);

	route_rules_free(rules);
	return needs;
}

static void test_needs(void **state)
{
	struct config_match none = { .domain = STRINGS("a.test") };
	struct config_match mac = { .source_mac = LIST((struct config_mac[]){ { { 1 } } }) };
	struct config_match interface = { .interfaces = STRINGS("eth0") };
	struct config_match mark = { .marks = LIST((uint32_t[]){ 0 }) };
	struct config_match dscp = { .dscp = 1 };
	struct route_needs needs = needs_of(&none, &none);

	assert_false(needs.source_mac || needs.interface || needs.mark || needs.dscp);
	needs = needs_of(&mac, &mark);
	assert_true(needs.source_mac && needs.mark && !needs.interface && !needs.dscp);
	needs = needs_of(&dscp, &interface);
	assert_true(needs.dscp && needs.interface && !needs.source_mac && !needs.mark);
}

static void test_facts_not_known(void **state)
{
	struct config_match mac = { .source_mac = LIST(
					    (struct config_mac[]){ { { 1, 2, 3, 4, 5, 6 } } }) };
	struct config_match interface = { .interfaces = STRINGS("eth0", "lan") };
	struct config_match dscp = { .dscp = 1ULL << 46 };
	struct config_match protocol = { .protocols = 1U << PROTOCOL_TLS | 1U << PROTOCOL_QUIC };
	struct route_meta meta = meta_of(NULL, NULL);

	assert_false(holds(&mac, &meta));
	assert_false(holds(&interface, &meta));
	assert_false(holds(&dscp, &meta));
	assert_false(holds(&protocol, &meta));
	meta.source_mac = (const uint8_t[]){ 1, 2, 3, 4, 5, 6 };
	meta.interface = "lan";
	meta.dscp = 46;
	meta.protocol = PROTOCOL_QUIC;
	assert_true(holds(&mac, &meta));
	assert_true(holds(&interface, &meta));
	assert_true(holds(&dscp, &meta));
	assert_true(holds(&protocol, &meta));
	meta.source_mac = (const uint8_t[]){ 1, 2, 3, 4, 5, 7 };
	assert_false(holds(&mac, &meta));
}

static void expect_reason(const struct config *config, const char *reason)
{
	struct route_rules *rules = (struct route_rules *)"untouched";
	char text[256] = "";

	assert_int_equal(route_rules_new(&rules, config, text), -EINVAL);
	assert_string_equal(rules, "untouched");
	if (strncmp(text, reason, strlen(reason)) != 0)
		fail_msg("\"%s\" is not \"%s...\"", text, reason);
}

static void test_reasons(void **state)
{
	struct config_match bad = { .domain_regex = STRINGS("fine", "a(b") };
	struct config_match nested = { .logical = true, .rules = { &bad, 1 } };
	struct config_match circle = { .rule_sets = INDEXES(0) };
	struct config_rule list[] = { { .match = { 0 } }, { .match = bad } };
	struct config_dns_rule dns = { .match = nested };
	struct config_rule_set sets[] = { { 0 }, { .rules = { &nested, 1 } } };

	expect_reason(&(struct config){ .rules = { list, 2 } },
		      "route.rules[1].domain_regex[1]: missing closing parenthesis at offset 3");
	expect_reason(&(struct config){ .dns.rules = { &dns, 1 } },
		      "dns.rules[0].rules[0].domain_regex[1]: missing closing ");
	expect_reason(&(struct config){ .rule_sets = { sets, 2 } },
		      "route.rule_set[1].rules[0].rules[0].domain_regex[1]: missing closing ");
	sets[1].rules.list = &circle;
	expect_reason(&(struct config){ .rule_sets = { sets, 2 } },
		      "route.rule_set[1].rules[0].rule_set: not in a rule set");
}

static void test_long_reason_fits(void **state)
{
	struct config_match list[100] = { { .domain_regex = STRINGS("[") } };
	struct config_rule rule;

	for (size_t i = 1; i < ARRAY_SIZE(list); i++)
		list[i] = MATCH(.logical = true, .rules = { &list[i - 1], 1 });
	rule = (struct config_rule){ .match = list[ARRAY_SIZE(list) - 1] };
	expect_reason(&(struct config){ .rules = { &rule, 1 } },
		      "route.rules[0].rules[0].rules[0]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stops_and_goes_on),
		cmocka_unit_test(test_no_rules),
		cmocka_unit_test(test_options_are_merged),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_source_group),
		cmocka_unit_test(test_nothing_given_and_nesting),
		cmocka_unit_test(test_rule_sets),
		cmocka_unit_test(test_dns_server),
		cmocka_unit_test(test_needs),
		cmocka_unit_test(test_facts_not_known),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_long_reason_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
