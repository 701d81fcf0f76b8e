#include <string.h>
#include "config/schema_rows.h"

#define NOT_SUPPORTED "not supported"

NAME_TABLE(relay_method_names, RELAY_METHOD_COUNT, "auto", "sockmap", "splice", "copy", "packet");
NAME_TABLE(relay_packet_names, PACKET_MODE_COUNT, "auto", "off");
NAME_TABLE(relay_on_exit_names, EXIT_COUNT, "keep", "close");
NAME_TABLE(outbound_type_names, OUTBOUND_TYPE_COUNT, "direct", "block", "wireguard", "socks",
	   "http", "vless", "selector", "urltest");
NAME_TABLE(domain_strategy_names, STRATEGY_COUNT, "prefer_ipv4", "prefer_ipv6", "ipv4_only",
	   "ipv6_only");
NAME_TABLE(network_strategy_names, NETWORK_STRATEGY_COUNT, "default", "hybrid", "fallback");
NAME_TABLE(network_type_names, NETWORK_TYPE_COUNT, "wifi", "cellular", "ethernet", "other");
NAME_TABLE(transparent_source_names, TRANSPARENT_SOURCE_COUNT, "off", "address", "address_port");
NAME_TABLE(dns_server_type_names, DNS_SERVER_TYPE_COUNT, "udp", "tcp", "local");
NAME_TABLE(network_names, 2, "tcp", "udp");
NAME_TABLE(socks_version_names, SOCKS_VERSION_COUNT, "5", "4", "4a");
NAME_TABLE(rule_action_names, ACTION_COUNT, "route", "route-options", "reject", "sniff", "resolve",
	   "hijack-dns");
NAME_TABLE(reject_method_names, REJECT_METHOD_COUNT, "default", "drop");

static const struct schema_table *table_of(enum section section)
{
	switch (section) {
	case SECTION_OUTBOUND:
	case SECTION_RESOLVER:
	case SECTION_PEER:
		return &schema_outbounds;
	case SECTION_MATCH:
	case SECTION_RULE:
	case SECTION_DNS_RULE:
	case SECTION_RULE_SET:
	case SECTION_RULE_SET_FILE:
		return &schema_rules;
	default:
		return &schema_general;
	}
}

/* The section whose keys @section has too; SECTION_ROOT: none. */
static enum section part_of(enum section section)
{
	return section == SECTION_RULE || section == SECTION_DNS_RULE ? SECTION_MATCH
								      : SECTION_ROOT;
}

static const struct schema_key *next_in(const struct schema_key *key, enum section section)
{
	const struct schema_table *table = table_of(section);

	for (key = key ? key + 1 : table->keys; key < table->keys + table->count; key++)
		if (key->section == section)
			return key;
	return NULL;
}

const struct schema_key *schema_next(const struct schema_key *key, enum section section)
{
	enum section part = part_of(section);
	bool in_part = key && key->section != section;
	const struct schema_key *next = next_in(key, in_part ? part : section);

	return next || in_part || part == SECTION_ROOT ? next : next_in(NULL, part);
}

bool schema_applies(const struct schema_key *key, const struct variant *variant)
{
	return (!key->only || !variant->type || (key->only & variant->type)) &&
	       (!key->actions || !variant->action || (key->actions & variant->action)) &&
	       !(key->not_in & variant->scope);
}

const struct schema_key *schema_find(enum section section, const char *name)
{
	schema_for_each(key, section) if (!strcmp(key->name, name)) return key;
	return NULL;
}

const char *schema_near(enum section section, const struct variant *variant, const char *name)
{
	const char *names[SCHEMA_KEYS_MAX];
	size_t count = 0;

	schema_for_each(key, section) if (count < SCHEMA_KEYS_MAX && schema_applies(key, variant))
		names[count++] = key->name;
	return names_near(names, count, name);
}

struct hint {
	enum section section;
	const char *name, *text;
};

/* Keys of sing-box, today's and of old configurations. */
static const struct hint hints[] = {
	{ OUTBOUND, "domain_strategy", "use domain_resolver.strategy" },
	{ OUTBOUND, "interface_name", "use name" },
	{ OUTBOUND, "local_address", "use address" },
	{ OUTBOUND, "tls", NOT_SUPPORTED },
	{ OUTBOUND, "transport", NOT_SUPPORTED },
	{ OUTBOUND, "multiplex", NOT_SUPPORTED },
	{ OUTBOUND, "packet_encoding", NOT_SUPPORTED },
	{ OUTBOUND, "udp_over_tcp", NOT_SUPPORTED },
	{ DNS_SERVER, "address", "use type, server and server_port" },
	{ DNS_RULE, "outbound", "use domain_resolver of the outbound" },
	{ DNS_RULE, "action", "a DNS rule names a server, and nothing else" },
	{ MATCH, "action", "only at the top of a rule" },
	{ MATCH, "outbound", "only at the top of a rule" },
	{ MATCH, "geoip", "use rule_set" },
	{ MATCH, "geosite", "use rule_set" },
	{ MATCH, "source_geoip", "use rule_set" },
	{ RULE_SET, "url", NOT_SUPPORTED },
	{ RULE_SET, "download_detour", NOT_SUPPORTED },
	{ RULE_SET, "update_interval", NOT_SUPPORTED },
};

const char *schema_hint(enum section section, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
		if ((hints[i].section == section ||
		     (part_of(section) && hints[i].section == part_of(section))) &&
		    !strcmp(hints[i].name, name))
			return hints[i].text;
	return NULL;
}
