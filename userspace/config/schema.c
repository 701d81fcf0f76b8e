#include "config/schema.h"
#include <string.h>
#include "base/log.h"
#include "base/names.h"
#include "config/form.h"
#include "seam/ctl.h"

NAME_TABLE(relay_method_names, RELAY_METHOD_COUNT, "auto", "sockmap", "splice", "copy");
NAME_TABLE(outbound_type_names, OUTBOUND_TYPE_COUNT, "direct", "block", "wireguard");
NAME_TABLE(domain_strategy_names, STRATEGY_COUNT, "prefer_ipv4", "prefer_ipv6", "ipv4_only",
	   "ipv6_only");
NAME_TABLE(network_strategy_names, NETWORK_STRATEGY_COUNT, "default", "hybrid", "fallback");
NAME_TABLE(network_type_names, NETWORK_TYPE_COUNT, "wifi", "cellular", "ethernet", "other");
NAME_TABLE(transparent_source_names, TRANSPARENT_SOURCE_COUNT, "off", "address", "address_port");
NAME_TABLE(dns_server_type_names, DNS_SERVER_TYPE_COUNT, "udp", "tcp", "local");
static NAME_TABLE(inbound_type_names, 1, "tproxy");
static NAME_TABLE(network_names, 2, "tcp", "udp");

#define FIELD(type, member) \
	.offset = offsetof(struct type, member), .size = sizeof(((struct type *)0)->member)
#define NO_FIELD        .offset = SCHEMA_NO_FIELD
#define OBJECT(section) .child = SECTION_##section
#define LIST(type, list, count) \
	.offset = offsetof(struct type, list), .count_offset = offsetof(struct type, count)
#define ARRAY(section, type) .child = SECTION_##section, .element_size = sizeof(struct type)
#define RANGE(low, high)     .min = (low), .max = (high)
#define WORDS(table)         .words = (table), .word_count = ARRAY_SIZE(table)
#define CONFLICTS(...)                     \
	.conflicts = (const char *const[]) \
	{                                  \
		__VA_ARGS__, NULL          \
	}

#define ROOT         SECTION_ROOT
#define INBOUND      SECTION_INBOUND
#define OUTBOUND     SECTION_OUTBOUND
#define RESOLVER     SECTION_RESOLVER
#define PEER         SECTION_PEER
#define ROUTE        SECTION_ROUTE
#define DNS          SECTION_DNS
#define DNS_SERVER   SECTION_DNS_SERVER
#define INTERFACE    SECTION_INTERFACE
#define RELAY        SECTION_RELAY
#define LIMITS       SECTION_LIMITS

/* Outbounds are read again by a reload, as a whole. */
#define OF_DIRECT    .only = 1U << OUTBOUND_DIRECT, .reload = true
#define OF_WIREGUARD .only = 1U << OUTBOUND_WIREGUARD, .reload = true
#define OF_BOTH      .only = 1U << OUTBOUND_DIRECT | 1U << OUTBOUND_WIREGUARD, .reload = true
#define OF_REMOTE    .only = 1U << DNS_SERVER_UDP | 1U << DNS_SERVER_TCP, .reload = true

const struct schema_key schema_keys[] = {
	{ ROOT, "log", KEY_OBJECT, FIELD(draft, config.log), OBJECT(LOG) },
	{ ROOT, "workers", KEY_INTEGER, FIELD(draft, config.workers), RANGE("0", "256"),
	  .initial = "0", .help = "threads that carry connections; 0: one a core" },
	{ ROOT, "interfaces", KEY_ARRAY, LIST(draft, config.interfaces, config.interface_count),
	  RANGE("0", "64"), ARRAY(INTERFACE, config_interface) },
	{ ROOT, "inbounds", KEY_ARRAY, LIST(draft, config.inbounds, config.inbound_count),
	  RANGE("1", "64"), ARRAY(INBOUND, config_inbound), .required = true },
	{ ROOT, "outbounds", KEY_ARRAY, LIST(draft, config.outbounds, config.outbound_count),
	  RANGE("0", "1024"), ARRAY(OUTBOUND, config_outbound) },
	{ ROOT, "route", KEY_OBJECT, .offset = 0, OBJECT(ROUTE) },
	{ ROOT, "dns", KEY_OBJECT, .offset = 0, OBJECT(DNS) },
	{ ROOT, "relay", KEY_OBJECT, FIELD(draft, config.relay), OBJECT(RELAY) },
	{ ROOT, "control", KEY_OBJECT, .offset = 0, OBJECT(CONTROL) },
	{ ROOT, "limits", KEY_OBJECT, FIELD(draft, config.limits), OBJECT(LIMITS) },

	{ SECTION_LOG, "level", KEY_ENUM, FIELD(config_log, level), WORDS(log_level_names),
	  .initial = "info", .reload = true, .help = "the least important lines that are written" },

	{ INBOUND, "type", KEY_ENUM, NO_FIELD, WORDS(inbound_type_names), .required = true,
	  .help = "tproxy: connections that the firewall sends here with TPROXY" },
	{ INBOUND, "tag", KEY_STRING, FIELD(config_inbound, tag), .check = form_tag,
	  .initial_help = "type-index", .help = "name in logs and in seamctl" },
	{ INBOUND, "listen", KEY_ADDRESS, FIELD(config_inbound, listen),
	  .initial = "::", .help = "address to listen on; \"::\" takes IPv4 too" },
	{ INBOUND, "listen_port", KEY_INTEGER, FIELD(config_inbound, listen.port),
	  RANGE("1", "65535"), .required = true, .help = "port that the TPROXY rules name" },
	{ INBOUND, "network", KEY_ENUM_LIST, FIELD(config_inbound, network), WORDS(network_names),
	  .not_yet = CONFIG_NETWORK_UDP, .initial = "tcp",
	  .help = "what to accept, one or a list" },

	{ OUTBOUND, "type", KEY_ENUM, FIELD(config_outbound, type), WORDS(outbound_type_names),
	  .required = true, .reload = true,
	  .help = "direct: connect to where the client wanted; wireguard: by a tunnel; block: "
		  "refuse" },
	{ OUTBOUND, "tag", KEY_STRING, FIELD(config_outbound, tag), .check = form_tag,
	  .reload = true, .initial_help = "type-index", .help = "name in route, logs and seamctl" },
	{ OUTBOUND, "detour", KEY_STRING, FIELD(config_outbound, detour_tag), OF_DIRECT,
	  .check = form_tag,
	  CONFLICTS("bind_interface", "inet4_bind_address", "inet6_bind_address",
		    "bind_address_no_port", "routing_mark", "protect_path", "netns", "reuse_addr",
		    "tcp_fast_open", "tcp_multi_path", "udp_fragment", "transparent_source",
		    "network_strategy", "network_type", "fallback_network_type", "connect_timeout"),
	  .help = "tag of the outbound that opens its connections" },
	{ OUTBOUND, "override_address", KEY_STRING, FIELD(config_outbound, override_address),
	  OF_BOTH, .check = form_host, .help = "IP address or domain name to go to instead" },
	{ OUTBOUND, "override_port", KEY_INTEGER, FIELD(config_outbound, override_port), OF_BOTH,
	  RANGE("1", "65535"), .help = "port to go to instead" },
	{ OUTBOUND, "routing_mark", KEY_MARK, FIELD(config_outbound, routing_mark), OF_BOTH,
	  RANGE("0", "0xffffffff"), .initial = "0x5ea",
	  .help = "SO_MARK of its sockets, which the TPROXY rules let pass; 0: none" },
	{ OUTBOUND, "bind_interface", KEY_STRING, FIELD(config_outbound, bind_interface), OF_DIRECT,
	  .check = form_interface, .help = "network interface to leave by" },
	{ OUTBOUND, "inet4_bind_address", KEY_ADDRESS, FIELD(config_outbound, bind4), OF_BOTH,
	  .family = AF_INET, .help = "source address of IPv4 connections" },
	{ OUTBOUND, "inet6_bind_address", KEY_ADDRESS, FIELD(config_outbound, bind6), OF_BOTH,
	  .family = AF_INET6, .help = "source address of IPv6 connections" },
	{ OUTBOUND, "bind_address_no_port", KEY_BOOL, FIELD(config_outbound, bind_address_no_port),
	  OF_BOTH, .initial = "true",
	  .help = "choose the source port when the destination is known, so that ports last "
		  "longer" },
	{ OUTBOUND, "protect_path", KEY_STRING, FIELD(config_outbound, protect_path), OF_DIRECT,
	  .check = form_socket,
	  .help = "path of a socket that each new socket is shown to before it connects" },
	{ OUTBOUND, "netns", KEY_STRING, FIELD(config_outbound, netns), OF_DIRECT,
	  .check = form_netns,
	  .help = "network namespace of its sockets, a name or an absolute path" },
	{ OUTBOUND, "reuse_addr", KEY_BOOL, FIELD(config_outbound, reuse_addr), OF_DIRECT,
	  .initial = "false", .help = "SO_REUSEADDR of its sockets" },
	{ OUTBOUND, "tcp_fast_open", KEY_BOOL, FIELD(config_outbound, tcp_fast_open), OF_BOTH,
	  .initial = "false", .help = "send the first bytes with the SYN" },
	{ OUTBOUND, "tcp_multi_path", KEY_BOOL, FIELD(config_outbound, tcp_multi_path), OF_DIRECT,
	  .initial = "false", .help = "use MPTCP where the server can" },
	{ OUTBOUND, "udp_fragment", KEY_BOOL, FIELD(config_outbound, udp_fragment), OF_BOTH,
	  .initial = "true", .help = "let large datagrams be fragmented" },
	{ OUTBOUND, "transparent_source", KEY_ENUM, FIELD(config_outbound, transparent_source),
	  OF_DIRECT, WORDS(transparent_source_names), .initial = "off",
	  CONFLICTS("inet4_bind_address", "inet6_bind_address", "netns"),
	  .help = "what of the client's own address the server sees" },
	{ OUTBOUND, "domain_resolver", KEY_OBJECT, FIELD(config_outbound, domain_resolver), OF_BOTH,
	  OBJECT(RESOLVER), .shorthand = "server" },
	{ OUTBOUND, "network_strategy", KEY_ENUM, FIELD(config_outbound, network_strategy),
	  OF_DIRECT, WORDS(network_strategy_names), .initial_help = "default",
	  CONFLICTS("bind_interface", "inet4_bind_address", "inet6_bind_address", "tcp_fast_open",
		    "netns"),
	  .help = "which interfaces are tried: one by one, all at once, or some only if others "
		  "fail" },
	{ OUTBOUND, "network_type", KEY_ENUM_LIST, FIELD(config_outbound, network_types), OF_DIRECT,
	  WORDS(network_type_names), .initial_help = "that of the default route",
	  CONFLICTS("bind_interface", "inet4_bind_address", "inet6_bind_address", "tcp_fast_open",
		    "netns"),
	  .help = "interfaces to use, one type or a list" },
	{ OUTBOUND, "fallback_network_type", KEY_ENUM_LIST,
	  FIELD(config_outbound, fallback_network_types), OF_DIRECT, WORDS(network_type_names),
	  .initial_help = "all others",
	  .help = "interfaces that network_strategy fallback turns to" },
	{ OUTBOUND, "fallback_delay", KEY_DURATION, FIELD(config_outbound, fallback_delay_ms),
	  OF_BOTH, RANGE("0ms", "10s"), .initial = "300ms",
	  .help = "wait before the other address family, or the fallback interfaces, are tried "
		  "too" },
	{ OUTBOUND, "attempt_delay", KEY_DURATION, FIELD(config_outbound, attempt_delay_ms),
	  OF_BOTH, RANGE("100ms", "2s"), .initial = "250ms",
	  .help = "wait before the next address of a name is tried too" },
	{ OUTBOUND, "resolution_delay", KEY_DURATION, FIELD(config_outbound, resolution_delay_ms),
	  OF_BOTH, RANGE("0ms", "2s"), .initial = "50ms",
	  .help = "wait for the addresses of the preferred family when the others are there" },
	{ OUTBOUND, "connect_timeout", KEY_DURATION, FIELD(config_outbound, connect_timeout_ms),
	  OF_BOTH, RANGE("10ms", "1h"), .initial = "5s",
	  .help = "how long a connection to one address may take to open" },
	{ OUTBOUND, "dial_timeout", KEY_DURATION, FIELD(config_outbound, dial_timeout_ms), OF_BOTH,
	  RANGE("10ms", "1h"), .initial = "15s",
	  .help = "how long everything may take until bytes can flow" },
	{ OUTBOUND, "disable_tcp_keep_alive", KEY_BOOL, FIELD(config_outbound, keep_alive), OF_BOTH,
	  .inverted = true, .initial = "false", .help = "send no keep-alive probes" },
	{ OUTBOUND, "tcp_keep_alive", KEY_DURATION, FIELD(config_outbound, keep_alive_idle_ms),
	  OF_BOTH, .unless = "disable_tcp_keep_alive", RANGE("1s", "9h"), .initial = "300s",
	  .help = "quiet time before the first keep-alive probe" },
	{ OUTBOUND, "tcp_keep_alive_interval", KEY_DURATION,
	  FIELD(config_outbound, keep_alive_interval_ms), OF_BOTH,
	  .unless = "disable_tcp_keep_alive", RANGE("1s", "9h"), .initial = "75s",
	  .help = "time between keep-alive probes" },
	{ OUTBOUND, "tcp_keep_alive_count", KEY_INTEGER, FIELD(config_outbound, keep_alive_count),
	  OF_BOTH, .unless = "disable_tcp_keep_alive", RANGE("1", "127"), .initial = "9",
	  .help = "unanswered probes that end a connection" },
	{ OUTBOUND, "name", KEY_STRING, FIELD(config_outbound, wireguard.name), OF_WIREGUARD,
	  .check = form_interface, .required = true, .help = "WireGuard interface to leave by" },
	{ OUTBOUND, "private_key", KEY_WG_KEY, FIELD(config_outbound, wireguard.private_key),
	  OF_WIREGUARD,
	  .help = "key of the interface, which seam then makes; without: it is there" },
	{ OUTBOUND, "listen_port", KEY_INTEGER, FIELD(config_outbound, wireguard.listen_port),
	  OF_WIREGUARD, .needs = "private_key", RANGE("1", "65535"),
	  .initial_help = "the kernel's choice", .help = "UDP port of the interface" },
	{ OUTBOUND, "mtu", KEY_INTEGER, FIELD(config_outbound, wireguard.mtu), OF_WIREGUARD,
	  .needs = "private_key", RANGE("576", "65535"), .initial = "1408",
	  .help = "MTU of the interface" },
	{ OUTBOUND, "address", KEY_PREFIX_LIST,
	  LIST(config_outbound, wireguard.addresses, wireguard.address_count), OF_WIREGUARD,
	  .needs = "private_key", .required = true, .host_bits = true, RANGE("1", "16"),
	  .help = "addresses of the interface, such as 10.0.0.2/32" },
	{ OUTBOUND, "peers", KEY_ARRAY,
	  LIST(config_outbound, wireguard.peers, wireguard.peer_count), OF_WIREGUARD,
	  .needs = "private_key", .required = true, RANGE("1", "64"), ARRAY(PEER, config_peer) },

	{ RESOLVER, "server", KEY_STRING, FIELD(config_domain_resolver, server_tag),
	  .check = form_tag, .initial_help = "dns.final", .reload = true,
	  .help = "tag of the DNS server for names; domain_resolver may be just this tag" },
	{ RESOLVER, "strategy", KEY_ENUM, FIELD(config_domain_resolver, strategy),
	  WORDS(domain_strategy_names), .initial_help = "dns.strategy", .reload = true,
	  .help = "which addresses of a name are used, and which family first" },

	{ PEER, "address", KEY_STRING, FIELD(config_peer, address), .check = form_host,
	  .initial_help = "the peer calls us", .reload = true,
	  .help = "IP address or domain name of the endpoint" },
	{ PEER, "port", KEY_INTEGER, FIELD(config_peer, port), .needs = "address",
	  RANGE("1", "65535"), .required = true, .reload = true,
	  .help = "UDP port of the endpoint" },
	{ PEER, "public_key", KEY_WG_KEY, FIELD(config_peer, public_key), .required = true,
	  .reload = true, .help = "key of the peer" },
	{ PEER, "pre_shared_key", KEY_WG_KEY, FIELD(config_peer, pre_shared_key), .reload = true,
	  .help = "secret that the peer has too" },
	{ PEER, "allowed_ips", KEY_PREFIX_LIST, LIST(config_peer, allowed_ips, allowed_ip_count),
	  RANGE("1", "256"), .required = true, .reload = true,
	  .help = "what is reached by this peer, such as 0.0.0.0/0" },
	{ PEER, "persistent_keepalive_interval", KEY_INTEGER, FIELD(config_peer, keepalive_s),
	  RANGE("0", "65535"), .initial = "0", .reload = true,
	  .help = "seconds between packets that keep a NAT open; 0: none" },

	{ ROUTE, "final", KEY_STRING, FIELD(draft, route_final),
	  .initial_help = "the first outbound", .check = form_tag, .reload = true,
	  .help = "tag of the outbound for what no rule matches" },
	{ ROUTE, "auto_detect_interface", KEY_BOOL, FIELD(draft, config.auto_detect_interface),
	  .initial = "false", .reload = true,
	  .help = "bind to the interface that the kernel's routes name, unless the outbound has "
		  "one" },

	{ DNS, "servers", KEY_ARRAY, LIST(draft, config.dns.servers, config.dns.server_count),
	  RANGE("0", "16"), ARRAY(DNS_SERVER, config_dns_server) },
	{ DNS, "final", KEY_STRING, FIELD(draft, dns_final), .initial_help = "the first server",
	  .check = form_tag, .reload = true,
	  .help = "tag of the server for outbounds without domain_resolver" },
	{ DNS, "strategy", KEY_ENUM, FIELD(draft, config.dns.strategy),
	  WORDS(domain_strategy_names), .initial = "prefer_ipv4", .reload = true,
	  .help = "which addresses of a name are used, and which family first" },
	{ DNS, "cache_capacity", KEY_INTEGER, FIELD(draft, config.dns.cache_capacity),
	  RANGE("0", "1000000"), .initial = "4096", .reload = true,
	  .help = "answers that each worker keeps; 0: none" },

	{ DNS_SERVER, "type", KEY_ENUM, FIELD(config_dns_server, type),
	  WORDS(dns_server_type_names), .required = true, .reload = true,
	  .help = "how to ask; local: what this machine is set up with" },
	{ DNS_SERVER, "tag", KEY_STRING, FIELD(config_dns_server, tag), .check = form_tag,
	  .initial_help = "type-index", .reload = true,
	  .help = "name in domain_resolver and logs" },
	{ DNS_SERVER, "server", KEY_ADDRESS, FIELD(config_dns_server, server), OF_REMOTE,
	  .remote = true, .required = true, .help = "IP address of the server" },
	{ DNS_SERVER, "server_port", KEY_INTEGER, FIELD(config_dns_server, server.port), OF_REMOTE,
	  RANGE("1", "65535"), .initial = "53", .help = "port of the server" },
	{ DNS_SERVER, "detour", KEY_STRING, FIELD(config_dns_server, detour_tag), OF_REMOTE,
	  .check = form_tag, .help = "tag of the outbound that questions leave by" },

	{ INTERFACE, "name", KEY_STRING, FIELD(config_interface, name), .check = form_interface,
	  .required = true, .reload = true,
	  .help = "network interface whose type is known better" },
	{ INTERFACE, "type", KEY_ENUM, FIELD(config_interface, type), WORDS(network_type_names),
	  .required = true, .reload = true, .help = "what network_type counts it as" },

	{ RELAY, "method", KEY_ENUM, FIELD(config_relay, method), WORDS(relay_method_names),
	  .initial = "auto", .reload = true,
	  .help = "how bytes are moved; auto: what this kernel does well" },
	{ RELAY, "force", KEY_BOOL, FIELD(config_relay, force), .initial = "false", .reload = true,
	  .help = "use sockmap on kernels where it is known to be broken" },
	{ RELAY, "local_clients", KEY_BOOL, FIELD(config_relay, local_clients), .initial = "false",
	  .help = "what clients on this machine send skips loopback (non-blocking sockets only)" },
	{ RELAY, "enter_after", KEY_INTEGER, FIELD(config_relay, enter_after),
	  RANGE("0", "1000000"), .initial = "16", .reload = true,
	  .help = "reads of a flow before it enters the sockmap" },
	{ RELAY, "buffer_limit", KEY_SIZE, FIELD(config_relay, buffer_limit),
	  RANGE("64KiB", "1GiB"), .initial = "32MiB", .reload = true,
	  .help = "bytes that one direction of a flow may hold" },
	{ RELAY, "memory_limit", KEY_SIZE, FIELD(config_relay, memory_limit), RANGE("1MiB", "1TiB"),
	  .initial_help = "a quarter of the RAM", .reload = true,
	  .help = "bytes that all flows together may hold" },
	{ RELAY, "half_close_timeout", KEY_DURATION, FIELD(config_relay, half_close_timeout_ms),
	  RANGE("0s", "24h"), .initial = "60s", .reload = true,
	  .help = "quiet time after one side has ended; 0s: no limit" },
	{ RELAY, "idle_timeout", KEY_DURATION, FIELD(config_relay, idle_timeout_ms),
	  RANGE("0s", "30d"), .initial = "0s", .reload = true,
	  .help = "quiet time that ends a flow; 0s: no limit" },

	{ SECTION_CONTROL, "socket", KEY_STRING, FIELD(draft, config.control_socket),
	  .check = form_socket, .initial = SEAM_CTL_SOCKET,
	  .help = "path of the socket for seamctl" },

	{ LIMITS, "max_flows", KEY_INTEGER, FIELD(config_limits, max_flows), RANGE("0", "1000000"),
	  .initial = "0", .reload = true,
	  .help = "connections at a time; 0: by the limit on open files" },
	{ LIMITS, "drain_timeout", KEY_DURATION, FIELD(config_limits, drain_timeout_ms),
	  RANGE("0s", "1h"), .initial = "5s", .reload = true,
	  .help = "how long a stop waits for connections to end" },
};
const size_t schema_key_count = ARRAY_SIZE(schema_keys);

bool schema_applies(const struct schema_key *key, enum section section, unsigned variant)
{
	return key->section == section && (!key->only || !variant || (key->only & variant));
}

const struct schema_key *schema_find(enum section section, const char *name)
{
	for (size_t i = 0; i < schema_key_count; i++)
		if (schema_keys[i].section == section && !strcmp(schema_keys[i].name, name))
			return &schema_keys[i];
	return NULL;
}

const char *schema_near(enum section section, unsigned variant, const char *name)
{
	const char *names[ARRAY_SIZE(schema_keys)];
	size_t count = 0;

	for (size_t i = 0; i < schema_key_count; i++)
		if (schema_applies(&schema_keys[i], section, variant))
			names[count++] = schema_keys[i].name;
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
	{ DNS_SERVER, "address", "use type, server and server_port" },
};

const char *schema_hint(enum section section, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
		if (hints[i].section == section && !strcmp(hints[i].name, name))
			return hints[i].text;
	return NULL;
}
