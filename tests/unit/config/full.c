/* full.json has every key of the schema, and what it says is what there is after loading. */
#include <stdlib.h>
#include "base/log.h"
#include "base/names.h"
#include "common.h"
#include "config/schema.h"

static void assert_full_dial(const struct config_outbound *wan)
{
	assert_int_equal(wan->detour, CONFIG_NONE);
	assert_string_equal(wan->override_address, "gate-1.example.");
	assert_int_equal(wan->override_port, 443);
	assert_int_equal(wan->routing_mark, 0xbeef);
	assert_string_equal(wan->bind_interface, "eth0.1234567890");
	assert_addr(&wan->bind4, "198.51.100.7", 0);
	assert_addr(&wan->bind6, "2001:db8:1::7", 0);
	assert_false(wan->bind_address_no_port);
	assert_string_equal(wan->protect_path, "/run/protect");
	assert_string_equal(wan->netns, "blue");
	assert_true(wan->reuse_addr && wan->tcp_fast_open && wan->tcp_multi_path);
	assert_false(wan->udp_fragment);
	assert_int_equal(wan->domain_resolver.server, 1);
	assert_int_equal(wan->domain_resolver.strategy, STRATEGY_IPV6_ONLY);
	assert_false(wan->has_network_strategy);
	assert_int_equal(wan->fallback_delay_ms, 0);
	assert_int_equal(wan->attempt_delay_ms, 2000);
	assert_int_equal(wan->resolution_delay_ms, 1999);
	assert_int_equal(wan->connect_timeout_ms, 60300);
	assert_int_equal(wan->dial_timeout_ms, 3600000);
	assert_true(wan->keep_alive);
	assert_int_equal(wan->keep_alive_idle_ms, 5400000);
	assert_int_equal(wan->keep_alive_interval_ms, 2000);
	assert_int_equal(wan->keep_alive_count, 127);
}

static void assert_full_outbounds(const struct config_outbound *outbounds)
{
	const struct config_outbound *third = &outbounds[2], *mobile = &outbounds[3];

	assert_int_equal(outbounds[0].type, OUTBOUND_BLOCK);
	assert_string_equal(outbounds[0].tag, "no");
	assert_int_equal(outbounds[1].type, OUTBOUND_DIRECT);
	assert_string_equal(outbounds[1].tag, "wan žluť");
	assert_full_dial(&outbounds[1]);
	assert_string_equal(third->tag, "direct-2");
	assert_int_equal(third->routing_mark, 0);
	assert_false(third->keep_alive);
	assert_string_equal(third->domain_resolver.server_tag, "own");
	assert_int_equal(third->domain_resolver.server, 2);
	assert_int_equal(third->domain_resolver.strategy, STRATEGY_PREFER_IPV6);
	assert_true(third->has_network_strategy);
	assert_int_equal(third->network_strategy, NETWORK_DEFAULT);
	assert_int_equal(third->network_types, 1U << TYPE_OTHER);
	assert_true(mobile->has_network_strategy);
	assert_int_equal(mobile->network_strategy, NETWORK_FALLBACK);
	assert_int_equal(mobile->network_types, 1U << TYPE_WIFI | 1U << TYPE_ETHERNET);
	assert_int_equal(mobile->fallback_network_types, 1U << TYPE_CELLULAR);
	assert_int_equal(outbounds[4].transparent_source, SOURCE_ADDRESS_PORT);
	assert_int_equal(outbounds[4].domain_resolver.server, 2);
	assert_int_equal(outbounds[4].domain_resolver.strategy, STRATEGY_IPV4_ONLY);
	assert_int_equal(outbounds[5].detour, 6);
	assert_string_equal(outbounds[5].override_address, "2001:db8::53");
}

static void assert_prefix(const struct config_prefix *prefix, const char *address, unsigned bits)
{
	assert_addr(&prefix->addr, address, 0);
	assert_int_equal(prefix->bits, bits);
}

static void assert_key(const uint8_t *key, int byte)
{
	uint8_t want[WIREGUARD_KEY_BYTES];

	memset(want, byte, sizeof(want));
	assert_memory_equal(key, want, sizeof(want));
}

static void assert_full_wireguard(const struct config_outbound *outbounds)
{
	const struct config_wireguard *wireguard = &outbounds[6].wireguard;
	const struct config_peer *peers = wireguard->peers;

	assert_int_equal(outbounds[6].type, OUTBOUND_WIREGUARD);
	assert_int_equal(outbounds[6].routing_mark, 7);
	assert_string_equal(wireguard->name, "wg0");
	assert_true(wireguard->create);
	assert_key(wireguard->private_key, 0x11);
	assert_int_equal(wireguard->listen_port, 51820);
	assert_int_equal(wireguard->mtu, 1280);
	assert_int_equal(wireguard->address_count, 2);
	assert_prefix(&wireguard->addresses[0], "10.0.0.2", 32);
	assert_prefix(&wireguard->addresses[1], "fd00::2", 64);
	assert_int_equal(wireguard->peer_count, 2);
	assert_string_equal(peers[0].address, "vpn.example");
	assert_int_equal(peers[0].port, 51821);
	assert_key(peers[0].public_key, 0x22);
	assert_key(peers[0].pre_shared_key, 0x33);
	assert_int_equal(peers[0].allowed_ip_count, 2);
	assert_prefix(&peers[0].allowed_ips[0], "0.0.0.0", 0);
	assert_prefix(&peers[0].allowed_ips[1], "::", 0);
	assert_int_equal(peers[0].keepalive_s, 25);
	assert_null(peers[1].address);
	assert_int_equal(peers[1].port, 0);
	assert_key(peers[1].public_key, 0x44);
	assert_key(peers[1].pre_shared_key, 0);
	assert_int_equal(peers[1].allowed_ip_count, 1);
	assert_prefix(&peers[1].allowed_ips[0], "10.0.0.128", 25);
	assert_int_equal(peers[1].keepalive_s, 0);
	wireguard = &outbounds[7].wireguard;
	assert_string_equal(outbounds[7].tag, "wireguard-7");
	assert_string_equal(wireguard->name, "wg1");
	assert_false(wireguard->create);
	assert_int_equal(wireguard->listen_port, 0);
	assert_int_equal(wireguard->mtu, 1408);
	assert_int_equal(wireguard->address_count + wireguard->peer_count, 0);
}

static void assert_full_dns(const struct config_dns *dns)
{
	assert_int_equal(dns->server_count, 3);
	assert_int_equal(dns->servers[0].type, DNS_SERVER_UDP);
	assert_string_equal(dns->servers[0].tag, "quad");
	assert_addr(&dns->servers[0].server, "9.9.9.9", 5353);
	assert_int_equal(dns->servers[0].detour, CONFIG_NONE);
	assert_int_equal(dns->servers[1].type, DNS_SERVER_TCP);
	assert_string_equal(dns->servers[1].tag, "tcp-1");
	assert_addr(&dns->servers[1].server, "2620:fe::fe", 53);
	assert_int_equal(dns->servers[1].detour, 5);
	assert_int_equal(dns->servers[2].type, DNS_SERVER_LOCAL);
	assert_int_equal(dns->servers[2].detour, CONFIG_NONE);
	assert_int_equal(dns->final, 2);
	assert_int_equal(dns->strategy, STRATEGY_PREFER_IPV6);
	assert_int_equal(dns->cache_capacity, 0);
}

static void assert_full_interfaces(const struct config *config)
{
	assert_int_equal(config->interface_count, 2);
	assert_string_equal(config->interfaces[0].name, "eth0.1234567890");
	assert_int_equal(config->interfaces[0].type, TYPE_CELLULAR);
	assert_string_equal(config->interfaces[1].name, "usb0");
	assert_int_equal(config->interfaces[1].type, TYPE_OTHER);
}

static void test_full(void **state)
{
	struct config_errors errors = { 0 };
	struct config *config = NULL;

	assert_int_equal(config_load(TEST_DATA "/full.json", &config, &errors), 0);
	assert_int_equal(errors.count, 0);
	assert_int_equal(config->log.level, LOG_DEBUG);
	assert_int_equal(config->workers, 3);
	assert_int_equal(config->inbound_count, 2);
	assert_string_equal(config->inbounds[0].tag, "lan");
	assert_addr(&config->inbounds[0].listen, "192.0.2.1", 7893);
	assert_int_equal(config->inbounds[0].network, CONFIG_NETWORK_UDP);
	assert_int_equal(config->inbounds[0].udp_timeout_ms, 90000);
	assert_int_equal(config->inbounds[0].mss, 1412);
	assert_string_equal(config->inbounds[1].tag, "tproxy-1");
	assert_addr(&config->inbounds[1].listen, "2001:db8::1", 7893);
	assert_int_equal(config->inbounds[1].network, CONFIG_NETWORK_TCP);
	assert_int_equal(config->outbound_count, 8);
	assert_full_outbounds(config->outbounds);
	assert_full_wireguard(config->outbounds);
	assert_full_dns(&config->dns);
	assert_full_interfaces(config);
	assert_int_equal(config->final_outbound, 1);
	assert_true(config->auto_detect_interface);
	assert_int_equal(config->relay.method, RELAY_SPLICE);
	assert_true(config->relay.force);
	assert_true(config->relay.local_clients);
	assert_int_equal(config->relay.enter_after, 0);
	assert_int_equal(config->relay.buffer_limit, 65536);
	assert_int_equal(config->relay.memory_limit, 2000000000);
	assert_int_equal(config->relay.half_close_timeout_ms, 0);
	assert_int_equal(config->relay.idle_timeout_ms, 2592000000);
	assert_int_equal(config->relay.packet, PACKET_OFF);
	assert_int_equal(config->relay.stall_after, 0);
	assert_int_equal(config->relay.on_exit, EXIT_CLOSE);
	assert_string_equal(config->control_socket, "/tmp/// not a comment /* at all */");
	assert_int_equal(config->limits.max_flows, 1000000);
	assert_int_equal(config->limits.max_udp_sessions, 70000);
	assert_int_equal(config->limits.max_udp_sessions_per_source, 0);
	assert_int_equal(config->limits.drain_timeout_ms, 1500);
	config_free(config);
	config_errors_deinit(&errors);
}

/* The full examples must stay full: a new row of the schema has to appear in them. */
static void test_full_is_full(void **state)
{
	static const char *const files[] = { "full.json", "rules.json", "rules-names.json" };
	char *texts[ARRAY_SIZE(files)];
	size_t len;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char path[512];

		snprintf(path, sizeof(path), TEST_DATA "/%s", files[i]);
		texts[i] = read_file(path, &len);
	}
	for (unsigned section = 0; section < SECTION_COUNT; section++) {
		schema_for_each(key, section)
		{
			char name[64];
			bool found = false;

			snprintf(name, sizeof(name), "\"%s\":", key->name);
			for (size_t i = 0; i < ARRAY_SIZE(files); i++)
				found |= strstr(texts[i], name) != NULL;
			if (!found)
				fail_msg("the full examples lack %s", name);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		free(texts[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_full_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
