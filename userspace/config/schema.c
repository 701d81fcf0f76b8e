#include "config/schema.h"
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/un.h>
#include "base/log.h"
#include "base/names.h"
#include "seam/ctl.h"

#define TAG_BYTES_MAX 64

NAME_TABLE(relay_method_names, RELAY_METHOD_COUNT, "auto", "sockmap", "splice", "copy");
NAME_TABLE(outbound_type_names, OUTBOUND_TYPE_COUNT, "direct", "block");
static NAME_TABLE(inbound_type_names, 1, "tproxy");
static NAME_TABLE(network_names, 2, "tcp", "udp");

static const char *check_tag(const char *text)
{
	size_t len = strlen(text);

	if (!len || len > TAG_BYTES_MAX)
		return "a tag has 1 to 64 bytes";
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			return "a tag is without control characters";
	return NULL;
}

static const char *check_interface(const char *text)
{
	size_t len = strlen(text);

	if (!len || len >= IFNAMSIZ)
		return "the name of an interface has 1 to 15 bytes";
	for (; *text; text++) /* dev_valid_name() in net/core/dev.c */
		if (*text == '/' || *text == ':' || isspace((unsigned char)*text))
			return "the name of an interface is without '/', ':' and spaces";
	return NULL;
}

static const char *check_socket(const char *text)
{
	if (*text != '/')
		return "must be an absolute path";
	if (strlen(text) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return "the path of a socket has at most 107 bytes";
	return NULL;
}

#define FIELD(type, member) \
	.offset = offsetof(struct type, member), .size = sizeof(((struct type *)0)->member)
#define NO_FIELD        .offset = SCHEMA_NO_FIELD
#define OBJECT(section) .child = SECTION_##section
#define ARRAY(list, count, section, type)                                                      \
	.offset = offsetof(struct draft, list), .count_offset = offsetof(struct draft, count), \
	.child = SECTION_##section, .element_size = sizeof(struct type)
#define RANGE(low, high) .min = (low), .max = (high)
#define WORDS(table)     .words = (table), .word_count = ARRAY_SIZE(table)
#define ONLY_DIRECT      .only = 1U << OUTBOUND_DIRECT

#define ROOT             SECTION_ROOT
#define INBOUND          SECTION_INBOUND
#define OUTBOUND         SECTION_OUTBOUND
#define RELAY            SECTION_RELAY
#define LIMITS           SECTION_LIMITS

const struct schema_key schema_keys[] = {
	{ ROOT, "log", KEY_OBJECT, FIELD(draft, config.log), OBJECT(LOG) },
	{ ROOT, "workers", KEY_INTEGER, FIELD(draft, config.workers), RANGE("0", "256"),
	  .initial = "0", .help = "threads that carry connections; 0: one a core" },
	{ ROOT, "inbounds", KEY_ARRAY, RANGE("1", "64"), .required = true,
	  ARRAY(config.inbounds, config.inbound_count, INBOUND, config_inbound) },
	{ ROOT, "outbounds", KEY_ARRAY, RANGE("0", "1024"),
	  ARRAY(config.outbounds, config.outbound_count, OUTBOUND, config_outbound) },
	{ ROOT, "route", KEY_OBJECT, .offset = 0, OBJECT(ROUTE) },
	{ ROOT, "relay", KEY_OBJECT, FIELD(draft, config.relay), OBJECT(RELAY) },
	{ ROOT, "control", KEY_OBJECT, .offset = 0, OBJECT(CONTROL) },
	{ ROOT, "limits", KEY_OBJECT, FIELD(draft, config.limits), OBJECT(LIMITS) },

	{ SECTION_LOG, "level", KEY_ENUM, FIELD(config_log, level), WORDS(log_level_names),
	  .initial = "info", .reload = true, .help = "the least important lines that are written" },

	{ INBOUND, "type", KEY_ENUM, NO_FIELD, WORDS(inbound_type_names), .required = true,
	  .help = "tproxy: connections that the firewall sends here with TPROXY" },
	{ INBOUND, "tag", KEY_STRING, FIELD(config_inbound, tag), .check = check_tag,
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
	  .help = "direct: connect to where the client wanted; block: refuse" },
	{ OUTBOUND, "tag", KEY_STRING, FIELD(config_outbound, tag), .check = check_tag,
	  .reload = true, .initial_help = "type-index", .help = "name in route, logs and seamctl" },
	{ OUTBOUND, "routing_mark", KEY_MARK, FIELD(config_outbound, routing_mark), ONLY_DIRECT,
	  RANGE("0", "0xffffffff"), .initial = "0x5ea", .reload = true,
	  .help = "SO_MARK of its sockets, which the TPROXY rules let pass; 0: none" },
	{ OUTBOUND, "bind_interface", KEY_STRING, FIELD(config_outbound, bind_interface),
	  ONLY_DIRECT, .check = check_interface, .reload = true,
	  .help = "network interface to leave by" },
	{ OUTBOUND, "inet4_bind_address", KEY_ADDRESS, FIELD(config_outbound, bind4), ONLY_DIRECT,
	  .family = AF_INET, .reload = true, .help = "source address of IPv4 connections" },
	{ OUTBOUND, "inet6_bind_address", KEY_ADDRESS, FIELD(config_outbound, bind6), ONLY_DIRECT,
	  .family = AF_INET6, .reload = true, .help = "source address of IPv6 connections" },
	{ OUTBOUND, "connect_timeout", KEY_DURATION, FIELD(config_outbound, connect_timeout_ms),
	  ONLY_DIRECT, RANGE("10ms", "1h"), .initial = "5s", .reload = true,
	  .help = "how long a connection may take to open" },
	{ OUTBOUND, "disable_tcp_keep_alive", KEY_BOOL, FIELD(config_outbound, keep_alive),
	  ONLY_DIRECT, .inverted = true, .initial = "false", .reload = true,
	  .help = "send no keep-alive probes" },
	{ OUTBOUND, "tcp_keep_alive", KEY_DURATION, FIELD(config_outbound, keep_alive_idle_ms),
	  ONLY_DIRECT, .unless = "disable_tcp_keep_alive", RANGE("1s", "9h"), .initial = "300s",
	  .reload = true, .help = "quiet time before the first keep-alive probe" },
	{ OUTBOUND, "tcp_keep_alive_interval", KEY_DURATION,
	  FIELD(config_outbound, keep_alive_interval_ms), ONLY_DIRECT,
	  .unless = "disable_tcp_keep_alive", RANGE("1s", "9h"), .initial = "75s", .reload = true,
	  .help = "time between keep-alive probes" },
	{ OUTBOUND, "tcp_keep_alive_count", KEY_INTEGER, FIELD(config_outbound, keep_alive_count),
	  ONLY_DIRECT, .unless = "disable_tcp_keep_alive", RANGE("1", "127"), .initial = "9",
	  .reload = true, .help = "unanswered probes that end a connection" },

	{ SECTION_ROUTE, "final", KEY_STRING, FIELD(draft, route_final),
	  .initial_help = "the first outbound", .check = check_tag, .reload = true,
	  .help = "tag of the outbound for what no rule matches" },

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
	  .check = check_socket, .initial = SEAM_CTL_SOCKET,
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
