#include "config/form.h"
#include "config/schema_rows.h"

enum rule_type { TYPE_DEFAULT, TYPE_LOGICAL, RULE_TYPE_COUNT };
enum rule_mode { MODE_AND, MODE_OR, RULE_MODE_COUNT };
enum rule_set_type { SET_LOCAL, SET_REMOTE, SET_INLINE, RULE_SET_TYPE_COUNT };
enum rule_set_format { FORMAT_SOURCE, FORMAT_BINARY, RULE_SET_FORMAT_COUNT };

static NAME_TABLE(type_names, RULE_TYPE_COUNT, "default", "logical");
static NAME_TABLE(mode_names, RULE_MODE_COUNT, "and", "or");
static NAME_TABLE(set_type_names, RULE_SET_TYPE_COUNT, "local", "remote", "inline");
static NAME_TABLE(format_names, RULE_SET_FORMAT_COUNT, "source", "binary");

#define MANY               RANGE("1", "1000000")
#define PROTOCOLS          .words = &protocol_names[1], .word_count = PROTOCOL_COUNT - 1, .first_bit = 1
#define OF_DEFAULT         .only = 1U << TYPE_DEFAULT, .reload = true
#define OF_LOGICAL         .only = 1U << TYPE_LOGICAL, .reload = true
#define NOT_DNS            .not_in = SCOPE_DNS
#define NOT_SET            .not_in = SCOPE_SET
#define MATCH_LIST(member) LIST(config_match, member.list, member.count)

#define ON(action)         .actions = 1U << ACTION_##action, .reload = true
#define ON_ROUTE           .actions = 1U << ACTION_ROUTE | 1U << ACTION_ROUTE_OPTIONS, .reload = true
#define OPTION(member)     FIELD(config_rule, options.member), ON_ROUTE
#define GIVEN(member)      .given_offset = offsetof(struct config_rule, options.member)

/* The sections that MATCH is also part of read it into their first field. */
_Static_assert(!offsetof(struct config_rule, match) && !offsetof(struct config_dns_rule, match),
	       "the match is not first");

static const struct schema_key keys[] = {
	{ MATCH, "type", KEY_ENUM, FIELD(config_match, logical), WORDS(type_names),
	  .initial = "default", .reload = true,
	  .help = "default: conditions; logical: conditions on conditions" },
	{ MATCH, "mode", KEY_ENUM, FIELD(config_match, any), WORDS(mode_names), OF_LOGICAL,
	  .required = true, .help = "whether all or any of rules must hold" },
	{ MATCH, "rules", KEY_ARRAY, MATCH_LIST(rules), ARRAY(MATCH, config_match), OF_LOGICAL,
	  RANGE("1", "1000"), .required = true, .help = "conditions with these same keys" },
	{ MATCH, "invert", KEY_BOOL, FIELD(config_match, invert), .initial = "false",
	  .reload = true, .help = "hold where it otherwise would not" },
	{ MATCH, "inbound", KEY_TAG_LIST, MATCH_LIST(inbounds), OF_DEFAULT, NOT_SET,
	  RANGE("1", "64"), .check = form_tag, .help = "tags of inbounds" },
	{ MATCH, "network", KEY_ENUM_LIST, FIELD(config_match, networks), OF_DEFAULT, NOT_DNS,
	  WORDS(network_names), .help = "one or a list" },
	{ MATCH, "protocol", KEY_ENUM_LIST, FIELD(config_match, protocols), OF_DEFAULT, NOT_DNS,
	  PROTOCOLS, .help = "what an earlier rule with action sniff found" },
	{ MATCH, "domain", KEY_STRING_LIST, MATCH_LIST(domain), OF_DEFAULT, MANY, .lower = true,
	  .undot = true, .check = form_domain, .help = "the name itself" },
	{ MATCH, "domain_suffix", KEY_STRING_LIST, MATCH_LIST(domain_suffix), OF_DEFAULT, MANY,
	  .lower = true, .undot = true, .check = form_suffix,
	  .help = "the name and names below it; with a dot in front only those below" },
	{ MATCH, "domain_keyword", KEY_STRING_LIST, MATCH_LIST(domain_keyword), OF_DEFAULT, MANY,
	  .lower = true, .check = form_keyword, .help = "part of the name" },
	{ MATCH, "domain_regex", KEY_STRING_LIST, MATCH_LIST(domain_regex), OF_DEFAULT, MANY,
	  .check = form_regex, .help = "regular expression (PCRE2) that fits in the name" },
	{ MATCH, "source_ip_cidr", KEY_PREFIX_LIST, MATCH_LIST(source_ip_cidr), OF_DEFAULT, MANY,
	  .bare = true, .help = "addresses of the client" },
	{ MATCH, "source_ip_is_private", KEY_BOOL, FIELD(config_match, source_ip_is_private),
	  OF_DEFAULT, .initial = "false", .help = "clients with private addresses" },
	{ MATCH, "ip_cidr", KEY_PREFIX_LIST, MATCH_LIST(ip_cidr), OF_DEFAULT, NOT_DNS, MANY,
	  .bare = true, .help = "addresses of the destination" },
	{ MATCH, "ip_is_private", KEY_BOOL, FIELD(config_match, ip_is_private), OF_DEFAULT, NOT_DNS,
	  .initial = "false", .help = "destinations with private addresses" },
	{ MATCH, "source_port", KEY_PORT_LIST, MATCH_LIST(source_ports), OF_DEFAULT,
	  RANGE("1", "65535"), .element_size = sizeof(struct config_ports),
	  .help = "port of the client" },
	{ MATCH, "source_port_range", KEY_PORT_RANGE_LIST, MATCH_LIST(source_ports), OF_DEFAULT,
	  RANGE("1", "65535"), .element_size = sizeof(struct config_ports),
	  .help = "ports of the client: \"1000:2000\", \":3000\", \"4000:\"" },
	{ MATCH, "port", KEY_PORT_LIST, MATCH_LIST(ports), OF_DEFAULT, NOT_DNS, RANGE("1", "65535"),
	  .element_size = sizeof(struct config_ports), .help = "port of the destination" },
	{ MATCH, "port_range", KEY_PORT_RANGE_LIST, MATCH_LIST(ports), OF_DEFAULT, NOT_DNS,
	  RANGE("1", "65535"), .element_size = sizeof(struct config_ports),
	  .help = "ports of the destination" },
	{ MATCH, "source_mac_address", KEY_MAC_LIST, MATCH_LIST(source_mac), OF_DEFAULT,
	  RANGE("1", "65535"), .help = "hardware address of the client" },
	{ MATCH, "interface", KEY_STRING_LIST, MATCH_LIST(interfaces), OF_DEFAULT, NOT_DNS,
	  RANGE("1", "256"), .check = form_interface,
	  .help = "network interface that the connection came in by" },
	{ MATCH, "dscp", KEY_NUMBER_MASK, FIELD(config_match, dscp), OF_DEFAULT, NOT_DNS,
	  RANGE("0", "63"), .help = "of the connection's packets" },
	{ MATCH, "mark", KEY_MARK_LIST, MATCH_LIST(marks), OF_DEFAULT, NOT_DNS, RANGE("1", "1024"),
	  .help = "firewall mark of the connection's packets" },
	{ MATCH, "rule_set", KEY_TAG_LIST, MATCH_LIST(rule_sets), OF_DEFAULT, NOT_SET,
	  RANGE("1", "256"), .check = form_tag, .help = "tags of rule sets of which one holds" },

	{ RULE, "action", KEY_ENUM, FIELD(config_rule, action), WORDS(rule_action_names),
	  .initial = "route", .reload = true,
	  .help = "what is done; route and reject end the search" },
	{ RULE, "outbound", KEY_STRING, FIELD(config_rule, outbound_tag), ON(ROUTE),
	  .check = form_tag, .required = true, .help = "tag of the outbound to use" },
	{ RULE, "override_address", KEY_STRING, OPTION(override_address), .check = form_host,
	  .help = "IP address or domain name to go to instead" },
	{ RULE, "override_port", KEY_INTEGER, OPTION(override_port), RANGE("1", "65535"),
	  .help = "port to go to instead" },
	{ RULE, "network_strategy", KEY_ENUM, OPTION(network_strategy), GIVEN(has_network_strategy),
	  WORDS(network_strategy_names), .initial_help = "that of the outbound",
	  .help = "which interfaces are tried" },
	{ RULE, "fallback_delay", KEY_DURATION, OPTION(fallback_delay_ms),
	  GIVEN(has_fallback_delay), RANGE("0ms", "10s"), .initial_help = "that of the outbound",
	  .help = "wait before the other address family or the fallback interfaces are tried too" },
	{ RULE, "udp_connect", KEY_BOOL, OPTION(udp_connect), .initial = "false",
	  .help = "connect UDP sockets, so that only the server can answer" },
	{ RULE, "udp_timeout", KEY_DURATION, OPTION(udp_timeout_ms), GIVEN(has_udp_timeout),
	  RANGE("1s", "24h"), .initial_help = "by protocol",
	  .help = "quiet time that ends a UDP flow" },
	{ RULE, "udp_disable_domain_unmapping", KEY_BOOL, OPTION(udp_disable_domain_unmapping),
	  .initial = "false", .help = "answers come from the address, not the name, asked for" },
	{ RULE, "tls_fragment", KEY_BOOL, OPTION(tls_fragment), .initial = "false",
	  .help = "split the TLS client hello into packets" },
	{ RULE, "tls_record_fragment", KEY_BOOL, OPTION(tls_record_fragment), .initial = "false",
	  .help = "split the TLS client hello into records" },
	{ RULE, "tls_fragment_fallback_delay", KEY_DURATION, OPTION(tls_fragment_fallback_delay_ms),
	  GIVEN(has_tls_delay), RANGE("1ms", "10s"), .initial = "500ms",
	  .help = "wait between packets where the kernel does not tell "
		  "when one has arrived" },
	{ RULE, "method", KEY_ENUM, FIELD(config_rule, reject), ON(REJECT),
	  WORDS(reject_method_names), .initial = "default",
	  .help = "default: refuse at once; drop: do not answer" },
	{ RULE, "sniffer", KEY_ENUM_LIST, FIELD(config_rule, sniff.protocols), ON(SNIFF), PROTOCOLS,
	  .initial_help = "all", .help = "protocols to look for" },
	{ RULE, "timeout", KEY_DURATION, FIELD(config_rule, sniff.timeout_ms), ON(SNIFF),
	  RANGE("10ms", "10s"), .initial = "300ms",
	  .help = "how long to wait for the first bytes" },
	{ RULE, "override_destination", KEY_BOOL, FIELD(config_rule, sniff.override_destination),
	  ON(SNIFF), .initial = "false",
	  .help = "the name that was found becomes the destination" },
	{ RULE, "server", KEY_STRING, FIELD(config_rule, resolve.server_tag), ON(RESOLVE),
	  .check = form_tag, .initial_help = "dns.final", .help = "tag of the DNS server to ask" },
	{ RULE, "strategy", KEY_ENUM, FIELD(config_rule, resolve.strategy), ON(RESOLVE),
	  WORDS(domain_strategy_names), .initial_help = "dns.strategy",
	  .help = "which addresses of the name are used, and which family first" },

	{ DNS_RULE, "server", KEY_STRING, FIELD(config_dns_rule, server_tag), .required = true,
	  .check = form_tag, .reload = true,
	  .help = "tag of the DNS server that answers; conditions are those of route.rules" },

	{ RULE_SET, "tag", KEY_STRING, FIELD(config_rule_set, tag), .required = true,
	  .check = form_tag, .reload = true, .help = "name in rules" },
	{ RULE_SET, "type", KEY_ENUM, NO_FIELD, WORDS(set_type_names), .initial = "local",
	  .not_yet = 1U << SET_REMOTE | 1U << SET_INLINE, .reload = true, .help = "local: a file" },
	{ RULE_SET, "format", KEY_ENUM, NO_FIELD, WORDS(format_names), .initial = "source",
	  .not_yet = 1U << FORMAT_BINARY, .reload = true, .help = "source: JSON" },
	{ RULE_SET, "path", KEY_STRING, FIELD(config_rule_set, path), .only = 1U << SET_LOCAL,
	  .required = true, .check = form_path, .reload = true,
	  .help = "absolute, or from the folder of the configuration file" },

	{ SET_FILE, "version", KEY_INTEGER, NO_FIELD, RANGE("1", "3"), .required = true,
	  .reload = true, .help = "of the format" },
	{ SET_FILE, "rules", KEY_ARRAY, LIST(config_rule_set, rules.list, rules.count),
	  RANGE("0", "100000"), ARRAY(MATCH, config_match), .required = true,
	  .help = "conditions of which one holds; the keys are those of route.rules" },
};
const struct schema_table schema_rules = { keys, ARRAY_SIZE(keys) };
