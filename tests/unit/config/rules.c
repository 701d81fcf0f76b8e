/* rules.json, which has every key of proxies, groups and rules, and what it says is what there is. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include "common.h"

static void assert_proxies(const struct config_outbound *list)
{
	static const uint8_t uuid[VLESS_UUID_BYTES] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
							0xcd, 0xef, 0x01, 0x23, 0x45, 0x67,
							0x89, 0xab, 0xcd, 0xef };

	assert_int_equal(list[0].proxy_protocol, 2);
	assert_int_equal(list[1].type, OUTBOUND_SOCKS);
	assert_string_equal(list[1].proxy.server, "proxy.example");
	assert_int_equal(list[1].proxy.port, 1080);
	assert_int_equal(list[1].proxy.version, SOCKS_5);
	assert_string_equal(list[1].proxy.username, "me");
	assert_string_equal(list[1].proxy.password, "pass word");
	assert_string_equal(list[1].bind_interface, "eth1");
	assert_int_equal(list[1].domain_resolver.server, 1);
	assert_int_equal(list[1].routing_mark, CONFIG_MARK);
	assert_int_equal(list[2].type, OUTBOUND_HTTP);
	assert_int_equal(list[2].detour, 4);
	assert_null(list[2].proxy.username);
	assert_int_equal(list[2].proxy.headers.count, 2);
	assert_string_equal(list[2].proxy.headers.list[0].name, "User-Agent");
	assert_string_equal(list[2].proxy.headers.list[0].value, "x");
	assert_string_equal(list[2].proxy.headers.list[1].name, "Host");
	assert_string_equal(list[2].proxy.headers.list[1].value, "gate.example");
	assert_int_equal(list[3].type, OUTBOUND_VLESS);
	assert_memory_equal(list[3].proxy.uuid, uuid, sizeof(uuid));
	assert_int_equal(list[3].connect_timeout_ms, 1000);
	assert_int_equal(list[7].proxy.version, SOCKS_4A);
	assert_null(list[7].proxy.password);
}

static void assert_groups(const struct config_outbound *list)
{
	const struct config_group *pick = &list[4].group, *fast = &list[5].group;

	assert_int_equal(list[4].type, OUTBOUND_SELECTOR);
	assert_int_equal(pick->tags.count, 3);
	assert_string_equal(pick->tags.list[1], "fast");
	assert_int_equal(pick->members.count, 3);
	assert_int_equal(pick->members.list[0], 0);
	assert_int_equal(pick->members.list[1], 5);
	assert_int_equal(pick->members.list[2], 6);
	assert_string_equal(pick->default_tag, "fast");
	assert_int_equal(pick->initial, 1);
	assert_int_equal(list[5].type, OUTBOUND_URLTEST);
	assert_int_equal(fast->members.count, 1);
	assert_int_equal(fast->members.list[0], 1);
	assert_string_equal(fast->url, "http://[2001:db8::2]:8080/x");
	assert_int_equal(fast->interval_ms, 10000);
	assert_int_equal(fast->tolerance_ms, 100);
	assert_int_equal(fast->idle_timeout_ms, 3600000);
}

static void assert_prefix(const struct config_prefix *prefix, const char *address, unsigned bits)
{
	assert_addr(&prefix->addr, address, 0);
	assert_int_equal(prefix->bits, bits);
}

static void assert_ports(const struct config_ports *ports, unsigned first, unsigned last)
{
	assert_int_equal(ports->first, first);
	assert_int_equal(ports->last, last);
}

static void assert_names(const struct config_match *match)
{
	assert_int_equal(match->domain.count, 2);
	assert_string_equal(match->domain.list[0], "www.example.org");
	assert_string_equal(match->domain.list[1], "a.example");
	assert_int_equal(match->domain_suffix.count, 2);
	assert_string_equal(match->domain_suffix.list[0], ".example.net");
	assert_string_equal(match->domain_suffix.list[1], "cn");
	assert_int_equal(match->domain_keyword.count, 1);
	assert_string_equal(match->domain_keyword.list[0], "tracker.");
	assert_int_equal(match->domain_regex.count, 1);
	assert_string_equal(match->domain_regex.list[0], "^Ad[0-9]+\\.");
	assert_int_equal(match->interfaces.count, 2);
	assert_string_equal(match->interfaces.list[1], "wlan0");
}

static void assert_numbers(const struct config_match *match)
{
	static const uint8_t mac[] = { 0, 0x11, 0x22, 0xaa, 0xbb, 0xff };

	assert_int_equal(match->source_ip_cidr.count, 2);
	assert_prefix(&match->source_ip_cidr.list[0], "10.0.0.0", 8);
	assert_prefix(&match->source_ip_cidr.list[1], "fd00::1", 128);
	assert_int_equal(match->ip_cidr.count, 1);
	assert_prefix(&match->ip_cidr.list[0], "192.0.2.0", 24);
	assert_true(match->ip_is_private && match->source_ip_is_private);
	assert_int_equal(match->source_ports.count, 3);
	assert_ports(&match->source_ports.list[0], 1000, 1000);
	assert_ports(&match->source_ports.list[1], 2000, 2001);
	assert_ports(&match->source_ports.list[2], 0, 10);
	assert_int_equal(match->ports.count, 3);
	assert_ports(&match->ports.list[0], 80, 80);
	assert_ports(&match->ports.list[1], 443, 443);
	assert_ports(&match->ports.list[2], 4000, 65535);
	assert_int_equal(match->source_mac.count, 1);
	assert_memory_equal(match->source_mac.list[0].bytes, mac, sizeof(mac));
	assert_true(match->dscp == (1 | UINT64_C(1) << 63));
	assert_int_equal(match->marks.count, 2);
	assert_int_equal(match->marks.list[0], 0xffffffff);
	assert_int_equal(match->marks.list[1], 0);
	assert_int_equal(match->protocols, 1U << PROTOCOL_HTTP | 1U << PROTOCOL_QUIC);
	assert_int_equal(match->rule_sets.count, 1);
	assert_int_equal(match->rule_sets.list[0], 0);
	assert_int_equal(match->inbounds.count, 2);
	assert_int_equal(match->inbounds.list[0], 1);
	assert_int_equal(match->inbounds.list[1], 0);
}

static void assert_options(const struct config_route_options *options)
{
	assert_string_equal(options->override_address, "10.9.9.9");
	assert_int_equal(options->override_port, 8443);
	assert_true(options->has_network_strategy && options->has_fallback_delay);
	assert_true(options->has_udp_timeout && options->has_tls_delay);
	assert_int_equal(options->network_strategy, NETWORK_HYBRID);
	assert_int_equal(options->fallback_delay_ms, 0);
	assert_true(options->udp_connect && options->udp_disable_domain_unmapping);
	assert_true(options->tls_fragment && options->tls_record_fragment);
	assert_int_equal(options->udp_timeout_ms, 300000);
	assert_int_equal(options->tls_fragment_fallback_delay_ms, 20);
}

static void assert_actions(const struct config_rule *list)
{
	assert_int_equal(list[0].action, ACTION_SNIFF);
	assert_int_equal(list[0].sniff.protocols, 1U << PROTOCOL_TLS | 1U << PROTOCOL_NTP);
	assert_int_equal(list[0].sniff.timeout_ms, 1000);
	assert_true(list[0].sniff.override_destination);
	assert_int_equal(list[1].action, ACTION_HIJACK_DNS);
	assert_int_equal(list[1].match.protocols, 1U << PROTOCOL_DNS);
	assert_int_equal(list[2].action, ACTION_RESOLVE);
	assert_int_equal(list[2].match.networks, CONFIG_NETWORK_TCP | CONFIG_NETWORK_UDP);
	assert_int_equal(list[2].resolve.server, 1);
	assert_int_equal(list[2].resolve.strategy, STRATEGY_IPV6_ONLY);
	assert_int_equal(list[3].action, ACTION_ROUTE);
	assert_int_equal(list[3].outbound, 2);
	assert_true(list[3].match.invert);
	assert_int_equal(list[4].action, ACTION_REJECT);
	assert_int_equal(list[4].reject, REJECT_DROP);
	assert_int_equal(list[5].action, ACTION_ROUTE_OPTIONS);
	assert_true(list[5].options.udp_connect && !list[5].options.has_tls_delay);
	assert_int_equal(list[5].options.tls_fragment_fallback_delay_ms, 500);
	assert_int_equal(list[6].resolve.server, 0);
	assert_int_equal(list[6].resolve.strategy, STRATEGY_IPV4_ONLY);
	assert_int_equal(list[7].outbound, 0);
	assert_int_equal(list[7].reject, REJECT_DEFAULT);
	assert_false(list[7].options.has_network_strategy || list[7].options.has_fallback_delay);
}

static void assert_logical(const struct config_match *match)
{
	const struct config_match *inner = match->rules.list;

	assert_true(match->logical && match->any);
	assert_int_equal(match->rules.count, 2);
	assert_true(inner[0].logical && !inner[0].any);
	assert_int_equal(inner[0].rules.count, 2);
	assert_ports(&inner[0].rules.list[0].ports.list[0], 25, 25);
	assert_true(inner[0].rules.list[1].invert);
	assert_false(inner[1].logical);
	assert_int_equal(inner[1].inbounds.list[0], 0);
	assert_int_equal(inner[1].rule_sets.list[0], 0);
}

static void assert_set(const struct config_rule_set *set)
{
	const struct config_match *rules = set->rules.list;

	assert_string_equal(set->tag, "names");
	assert_string_equal(set->path, TEST_DATA "/rules-names.json");
	assert_int_equal(set->rules.count, 2);
	assert_string_equal(rules[0].domain_suffix.list[0], "cn");
	assert_prefix(&rules[0].ip_cidr.list[0], "2001:db8::", 32);
	assert_prefix(&rules[0].ip_cidr.list[1], "192.0.2.1", 32);
	assert_true(rules[1].logical && rules[1].any && rules[1].invert);
	assert_string_equal(rules[1].rules.list[0].domain_keyword.list[0], "ads.");
}

static void assert_dns(const struct config_dns *dns)
{
	const struct config_dns_rule *rules = dns->rules.list;

	assert_true(dns->reverse_mapping);
	assert_int_equal(dns->rules.count, 2);
	assert_int_equal(rules[0].server, 1);
	assert_string_equal(rules[0].match.domain_suffix.list[0], "lan");
	assert_int_equal(rules[0].match.inbounds.list[0], 0);
	assert_prefix(&rules[0].match.source_ip_cidr.list[0], "10.0.0.0", 8);
	assert_int_equal(rules[0].match.rule_sets.list[0], 0);
	assert_int_equal(rules[1].server, 0);
	assert_true(rules[1].match.logical && !rules[1].match.any);
	assert_ports(&rules[1].match.rules.list[0].source_ports.list[0], 5, 5);
}

static void test_rules(void **state)
{
	struct config_errors errors = { 0 };
	struct config *config = NULL;
	int r = config_load(TEST_DATA "/rules.json", &config, &errors);

	config_errors_print(&errors, stderr, false);
	assert_int_equal(r, 0);
	assert_int_equal(config->outbound_count, 8);
	assert_proxies(config->outbounds);
	assert_groups(config->outbounds);
	assert_int_equal(config->final_outbound, 4);
	assert_int_equal(config->server_first_ports.count, 2);
	assert_int_equal(config->server_first_ports.list[1], 22);
	assert_int_equal(config->rules.count, 8);
	assert_actions(config->rules.list);
	assert_names(&config->rules.list[3].match);
	assert_numbers(&config->rules.list[3].match);
	assert_options(&config->rules.list[3].options);
	assert_logical(&config->rules.list[4].match);
	assert_int_equal(config->rule_sets.count, 1);
	assert_set(&config->rule_sets.list[0]);
	assert_dns(&config->dns);
	config_free(config);
	config_errors_deinit(&errors);
}

#define HEAD "{\"inbounds\": [{\"type\": \"tproxy\", \"listen_port\": 1}], "

static void test_defaults(void **state)
{
	struct config *config = load_good(
		HEAD
		"\"outbounds\": [{\"type\": \"direct\"}, {\"type\": \"urltest\", \"outbounds\": "
		"\"direct-0\"}, {\"type\": \"socks\", \"server\": \"a\", \"server_port\": 1}],"
		"\"route\": {\"rules\": [{\"action\": \"sniff\"}, {\"port\": 1, "
		"\"outbound\": \"urltest-1\"}]}}");
	const struct config_group *group = &config->outbounds[1].group;
	const struct config_rule *rules = config->rules.list;
	static const uint16_t ports[] = { 25, 465, 587, 143, 993, 110, 995 };

	assert_string_equal(group->url, "http://www.gstatic.com/generate_204");
	assert_int_equal(group->interval_ms, 180000);
	assert_int_equal(group->tolerance_ms, 50);
	assert_int_equal(group->idle_timeout_ms, 1800000);
	assert_int_equal(group->initial, 0);
	assert_int_equal(config->outbounds[0].proxy_protocol, 0);
	assert_int_equal(config->outbounds[2].proxy.version, SOCKS_5);
	assert_null(config->outbounds[2].proxy.username);
	assert_int_equal(config->outbounds[2].connect_timeout_ms, 5000);
	assert_int_equal(config->server_first_ports.count, 7);
	assert_memory_equal(config->server_first_ports.list, ports, sizeof(ports));
	assert_false(config->dns.reverse_mapping);
	assert_int_equal(config->dns.rules.count, 0);
	assert_int_equal(rules[0].sniff.protocols, 0);
	assert_int_equal(rules[0].sniff.timeout_ms, 300);
	assert_false(rules[0].sniff.override_destination);
	assert_int_equal(rules[1].outbound, 1);
	assert_int_equal(rules[1].match.networks | rules[1].match.protocols, 0);
	assert_false(rules[1].match.logical || rules[1].match.invert);
	config_free(config);
	config = load_good(HEAD "\"route\": {\"server_first_ports\": []}}");
	assert_int_equal(config->server_first_ports.count, 0);
	config_free(config);
}

/* Conditions @depth deep below a rule. */
static int load_nested(unsigned depth, struct config **ret, struct config_errors *errors)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	int r;

	fputs(HEAD "\"route\": {\"rules\": [{\"outbound\": \"direct\", ", out);
	for (unsigned i = 0; i < depth; i++)
		fputs("\"type\": \"logical\", \"mode\": \"and\", \"rules\": [{", out);
	fputs("\"port\": 1", out);
	for (unsigned i = 0; i < depth; i++)
		fputs("}]", out);
	fputs("}]}}", out);
	fclose(out);
	r = load_bytes(text, len, ret, errors);
	free(text);
	return r;
}

static void test_depth(void **state)
{
	struct config_errors errors = { 0 };
	struct config *config = NULL;

	assert_int_equal(load_nested(8, &config, &errors), 0);
	config_free(config);
	config = NULL;
	assert_int_equal(load_nested(9, &config, &errors), -EINVAL);
	assert_int_equal(errors.count, 1);
	assert_string_equal(
		errors.list[0].pointer,
		"/route/rules/0/rules/0/rules/0/rules/0/rules/0/rules/0/rules/0/rules/0/"
		"rules/0/rules");
	assert_string_equal(errors.list[0].reason, "rules are nested more than 8 deep");
	config_errors_deinit(&errors);
}

#define RULES   10000
#define DOMAINS 10
#define SECONDS 20 /* far more than it takes, even here, and far less than a square of it */

static char *make_large(const char *last, size_t *ret_len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_len);

	fputs(HEAD "\"route\": {\"rules\": [\n", out);
	for (unsigned i = 0; i < RULES; i++) {
		fputs("{\"outbound\": \"direct\", \"domain_suffix\": [", out);
		for (unsigned j = 0; j < DOMAINS; j++)
			fprintf(out, "%s\"name-%u.of-rule-%u.example.org\"", j ? ", " : "", j, i);
		fprintf(out, "]%s}%s\n", i >= RULES - 200 ? last : "", i < RULES - 1 ? "," : "");
	}
	fputs("]}}", out);
	fclose(out);
	return text;
}

static void test_large(void **state)
{
	struct config_errors errors = { 0 };
	struct config *config = NULL;
	struct timespec start, end;
	size_t len;
	char *text;

	clock_gettime(CLOCK_MONOTONIC, &start);
	text = make_large("", &len);
	assert_int_equal(load_bytes(text, len, &config, &errors), 0);
	assert_int_equal(config->rules.count, RULES);
	assert_string_equal(config->rules.list[RULES - 1].match.domain_suffix.list[DOMAINS - 1],
			    "name-9.of-rule-9999.example.org");
	config_free(config);
	free(text);
	config = NULL;
	text = make_large(", \"port\": 0", &len);
	assert_int_equal(load_bytes(text, len, &config, &errors), -EINVAL);
	assert_int_equal(errors.count, 200);
	assert_int_equal(errors.list[0].line, RULES - 200 + 2);
	assert_int_equal(errors.list[199].line, RULES + 1);
	free(text);
	config_errors_deinit(&errors);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true(end.tv_sec - start.tv_sec < SECONDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
