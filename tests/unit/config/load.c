/* What a good file becomes, and what is said about files that cannot be read at all. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/un.h>
#include "base/log.h"
#include "common.h"
#include "config/schema.h"
#include "seam/ctl.h"

#define MINIMAL "{\"inbounds\": [{\"type\": \"tproxy\", \"listen_port\": 7893}]}"

static void assert_direct_defaults(const struct config_outbound *outbound)
{
	assert_int_equal(outbound->type, OUTBOUND_DIRECT);
	assert_int_equal(outbound->routing_mark, 1514);
	assert_null(outbound->bind_interface);
	assert_int_equal(outbound->bind4.family, AF_UNSPEC);
	assert_int_equal(outbound->bind6.family, AF_UNSPEC);
	assert_int_equal(outbound->detour, CONFIG_NONE);
	assert_null(outbound->override_address);
	assert_int_equal(outbound->override_port, 0);
	assert_true(outbound->bind_address_no_port);
	assert_null(outbound->protect_path);
	assert_null(outbound->netns);
	assert_false(outbound->reuse_addr || outbound->tcp_fast_open || outbound->tcp_multi_path);
	assert_true(outbound->udp_fragment);
	assert_int_equal(outbound->transparent_source, SOURCE_OFF);
	assert_null(outbound->domain_resolver.server_tag);
	assert_int_equal(outbound->domain_resolver.server, 0);
	assert_int_equal(outbound->domain_resolver.strategy, STRATEGY_PREFER_IPV4);
	assert_false(outbound->has_network_strategy);
	assert_int_equal(outbound->network_strategy, NETWORK_DEFAULT);
	assert_int_equal(outbound->network_types | outbound->fallback_network_types, 0);
	assert_int_equal(outbound->fallback_delay_ms, 300);
	assert_int_equal(outbound->attempt_delay_ms, 250);
	assert_int_equal(outbound->resolution_delay_ms, 50);
	assert_int_equal(outbound->connect_timeout_ms, 5000);
	assert_int_equal(outbound->dial_timeout_ms, 15000);
	assert_true(outbound->keep_alive);
	assert_int_equal(outbound->keep_alive_idle_ms, 300000);
	assert_int_equal(outbound->keep_alive_interval_ms, 75000);
	assert_int_equal(outbound->keep_alive_count, 9);
}

static void assert_relay_defaults(const struct config_relay *relay)
{
	uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	assert_int_equal(relay->method, RELAY_AUTO);
	assert_false(relay->force);
	assert_false(relay->local_clients);
	assert_int_equal(relay->enter_after, 16);
	assert_int_equal(relay->buffer_limit, 32 << 20);
	assert_int_equal(relay->memory_limit, ram / 4);
	assert_int_equal(relay->half_close_timeout_ms, 60000);
	assert_int_equal(relay->idle_timeout_ms, 0);
	assert_int_equal(relay->packet, PACKET_AUTO);
	assert_int_equal(relay->stall_after, 16 << 20);
	assert_int_equal(relay->on_exit, EXIT_KEEP);
}

static void assert_dns_defaults(const struct config_dns *dns)
{
	assert_int_equal(dns->server_count, 1);
	assert_int_equal(dns->servers[0].type, DNS_SERVER_LOCAL);
	assert_string_equal(dns->servers[0].tag, "local");
	assert_int_equal(dns->servers[0].server.family, AF_UNSPEC);
	assert_int_equal(dns->servers[0].detour, CONFIG_NONE);
	assert_int_equal(dns->final, 0);
	assert_int_equal(dns->strategy, STRATEGY_PREFER_IPV4);
	assert_int_equal(dns->cache_capacity, 4096);
}

static void test_defaults(void **state)
{
	struct config *config = load_good(MINIMAL);

	assert_int_equal(config->log.level, LOG_INFO);
	assert_int_equal(config->workers, 0);
	assert_int_equal(config->inbound_count, 1);
	assert_string_equal(config->inbounds[0].tag, "tproxy-0");
	assert_addr(&config->inbounds[0].listen, "::", 7893);
	assert_int_equal(config->inbounds[0].network, CONFIG_NETWORK_TCP | CONFIG_NETWORK_UDP);
	assert_int_equal(config->inbounds[0].udp_timeout_ms, 300000);
	assert_int_equal(config->inbounds[0].mss, 0);
	assert_int_equal(config->outbound_count, 1);
	assert_string_equal(config->outbounds[0].tag, "direct");
	assert_direct_defaults(&config->outbounds[0]);
	assert_int_equal(config->final_outbound, 0);
	assert_false(config->auto_detect_interface);
	assert_dns_defaults(&config->dns);
	assert_int_equal(config->interface_count, 0);
	assert_relay_defaults(&config->relay);
	assert_string_equal(config->control_socket, SEAM_CTL_SOCKET);
	assert_int_equal(config->limits.max_flows, 0);
	assert_int_equal(config->limits.drain_timeout_ms, 5000);
	config_free(config);
}

static void test_disjoint_listeners(void **state)
{
	config_free(load_good("{\"inbounds\": ["
			      "{\"type\": \"tproxy\", \"listen\": \"::1\", \"listen_port\": 1},"
			      "{\"type\": \"tproxy\", \"listen\": \"0.0.0.0\", \"listen_port\": 1},"
			      "{\"type\": \"tproxy\", \"listen\": \"::2\", \"listen_port\": 1},"
			      "{\"type\": \"tproxy\", \"listen_port\": 2}]}"));
}

static void test_empty_outbounds(void **state)
{
	struct config *config = load_good(
		"{\"outbounds\": [], \"route\": {\"final\": \"direct\"}, "
		"\"inbounds\": [{\"type\": \"tproxy\", \"listen_port\": 65535}]}");

	assert_int_equal(config->outbound_count, 1);
	assert_direct_defaults(&config->outbounds[0]);
	assert_int_equal(config->inbounds[0].listen.port, 65535);
	config_free(config);
}

/* A default that is said does not stand in the way of anything. */
static void test_defaults_beside(void **state)
{
	struct config *config = load_good(
		"{\"inbounds\": [{\"type\": \"tproxy\", \"listen_port\": 1}], \"outbounds\": ["
		"{\"type\": \"direct\", \"tag\": \"a\", \"transparent_source\": \"off\","
		" \"netns\": \"/run/netns/x\", \"inet4_bind_address\": \"192.0.2.1\"},"
		"{\"type\": \"direct\", \"detour\": \"a\", \"reuse_addr\": false,"
		" \"udp_fragment\": true, \"attempt_delay\": \"1s\"}]}");

	assert_int_equal(config->outbounds[0].transparent_source, SOURCE_OFF);
	assert_string_equal(config->outbounds[0].netns, "/run/netns/x");
	assert_int_equal(config->outbounds[1].detour, 0);
	config_free(config);
}

/* Eight detours in a row are fine; with @count more they are not. */
static int load_chain(unsigned count, struct config **ret, struct config_errors *errors)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	int r;

	fputs("{\"inbounds\": [{\"type\": \"tproxy\", \"listen_port\": 1}], \"outbounds\": [", out);
	for (unsigned i = 0; i < count; i++)
		fprintf(out, "{\"type\": \"direct\", \"tag\": \"o%u\", \"detour\": \"o%u\"},\n", i,
			i + 1);
	fprintf(out, "{\"type\": \"direct\", \"tag\": \"o%u\"}]}", count);
	fclose(out);
	r = load_bytes(text, len, ret, errors);
	free(text);
	return r;
}

static void test_detours(void **state)
{
	struct config_errors errors = { 0 };
	struct config *config = NULL;

	assert_int_equal(load_chain(8, &config, &errors), 0);
	assert_int_equal(config->outbounds[0].detour, 1);
	assert_int_equal(config->outbounds[7].detour, 8);
	assert_int_equal(config->outbounds[8].detour, CONFIG_NONE);
	config_free(config);
	config = NULL;
	assert_int_equal(load_chain(20, &config, &errors), -EINVAL);
	assert_int_equal(errors.count, 1); /* at the first that is too far from the end */
	assert_string_equal(errors.list[0].pointer, "/outbounds/11/detour");
	assert_string_equal(errors.list[0].reason, "more than 8 detours in a row");
	config_errors_deinit(&errors);
}

static void test_stdin(void **state)
{
	struct config_errors errors = { 0 };
	struct config *config = NULL;
	int saved = dup(STDIN_FILENO), ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], MINIMAL, strlen(MINIMAL)), strlen(MINIMAL));
	close(ends[1]);
	dup2(ends[0], STDIN_FILENO);
	close(ends[0]);
	assert_int_equal(config_load("-", &config, &errors), 0);
	config_free(config);
	config = NULL;
	assert_int_equal(config_load("-", &config, &errors), -EINVAL);
	assert_null(config);
	assert_int_equal(errors.count, 1);
	assert_string_equal(errors.list[0].file, "<stdin>");
	config_errors_deinit(&errors);
	if (saved >= 0)
		dup2(saved, STDIN_FILENO);
	close(saved);
}

static void assert_unreadable(const char *path, const char *reason)
{
	struct config_errors errors = { 0 };
	struct config *config = NULL;

	assert_int_equal(config_load(path, &config, &errors), -EINVAL);
	assert_null(config);
	assert_int_equal(errors.count, 1);
	assert_int_equal(errors.list[0].line, 0);
	assert_string_equal(errors.list[0].pointer, "");
	assert_string_equal(errors.list[0].reason, reason);
	config_errors_deinit(&errors);
}

static void test_unreadable(void **state)
{
	assert_unreadable("/nonexistent/seam.json", "cannot read: No such file or directory");
	assert_unreadable("/", "cannot read: Is a directory");
	assert_unreadable("/dev/zero", "larger than 16777216 bytes");
}

static char *print(const struct config_errors *errors, bool json)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	config_errors_print(errors, out, json);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void test_print(void **state)
{
	struct config_error list[] = {
		{ .file = "a\n.json", .reason = "cannot read", .pointer = "" },
		{ .file = "b", .line = 3, .column = 7, .pointer = "/x\033y", .reason = "\"ž\"" },
	};
	struct config_errors errors = { list, 2 };
	char *text = print(&errors, false), *json = print(&errors, true);
	json_t *root = json_loads(json, JSON_REJECT_DUPLICATES, NULL), *second;

	assert_string_equal(text, "a?.json: cannot read\nb:3:7: /x?y: \"ž\"\n");
	assert_int_equal(json_array_size(root), 2);
	second = json_array_get(root, 1);
	assert_int_equal(json_object_size(second), 5);
	assert_string_equal(json_string_value(json_object_get(second, "file")), "b");
	assert_int_equal(json_integer_value(json_object_get(second, "line")), 3);
	assert_int_equal(json_integer_value(json_object_get(second, "column")), 7);
	assert_string_equal(json_string_value(json_object_get(second, "pointer")), "/x\033y");
	assert_string_equal(json_string_value(json_object_get(second, "reason")), "\"ž\"");
	json_decref(root);
	free(text);
	free(json);
	errors.count = 0;
	json = print(&errors, true);
	assert_string_equal(json, "[]\n");
	free(json);
}

/* Very many errors stay few, and say so. */
static void test_many_errors(void **state)
{
	struct config_errors errors = { 0 };
	struct config *config = NULL;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs("{\"inbounds\": [{\"type\": \"tproxy\", \"listen_port\": 1}]", out);
	for (unsigned i = 0; i < 300; i++)
		fprintf(out, ",\n\"zz%u\": 0", i);
	fputs("}", out);
	fclose(out);
	assert_int_equal(load_bytes(text, len, &config, &errors), -EINVAL);
	assert_int_equal(errors.count, 201);
	assert_int_equal(errors.list[0].line, 2);
	assert_int_equal(errors.list[199].line, 201);
	assert_int_equal(errors.list[200].line, 0);
	assert_string_equal(errors.list[200].reason, "100 more errors are not shown");
	config_errors_deinit(&errors);
	free(text);
}

static void test_schema_print(void **state)
{
	char *text = NULL;
	size_t len, lines = 0, leaves = 0;
	FILE *out = open_memstream(&text, &len);

	assert_int_equal(config_schema_print(out), 0);
	fclose(out);
	for (const char *c = text; *c; c++)
		lines += *c == '\n';
	for (unsigned section = 0; section < SECTION_COUNT; section++)
		schema_for_each(key, section)
			leaves += key->section == section && key->help != NULL;
	assert_int_equal(lines, leaves);
	assert_non_null(strstr(text, "relay.method "));
	assert_non_null(strstr(text, " auto|sockmap|splice|copy|packet "));
	assert_non_null(strstr(text, "inbounds[].listen_port "));
	assert_non_null(strstr(text, " integer 1..65535 "));
	assert_non_null(strstr(text, "outbounds[].peers[].allowed_ips "));
	assert_non_null(strstr(text, " prefixes 1..256 "));
	assert_non_null(strstr(text, " (1408; wireguard) "));
	assert_non_null(strstr(text, " (300ms; direct, wireguard, socks, http, vless) "));
	assert_non_null(strstr(text, "route.rules[].domain_suffix "));
	assert_non_null(strstr(text, " (500ms; route, route-options) "));
	assert_non_null(strstr(text, "file of a rule set: version "));
	assert_non_null(strstr(text, " (required with address) "));
	assert_non_null(strstr(text, "outbounds[].domain_resolver.strategy "));
	assert_null(strstr(text, "(null)"));
	free(text);
	out = fopen("/dev/full", "we");
	assert_non_null(out);
	assert_int_equal(config_schema_print(out), -EIO);
	fclose(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),        cmocka_unit_test(test_disjoint_listeners),
		cmocka_unit_test(test_empty_outbounds), cmocka_unit_test(test_stdin),
		cmocka_unit_test(test_defaults_beside), cmocka_unit_test(test_detours),
		cmocka_unit_test(test_unreadable),      cmocka_unit_test(test_print),
		cmocka_unit_test(test_many_errors),     cmocka_unit_test(test_schema_print),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
