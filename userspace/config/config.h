/* config - the configuration as plain data, made by config_load() and never changed after.
 *
 * Only *_init() and *_build() functions read it; steady-state code works on what they made of it.
 * Times are in milliseconds, sizes in bytes, strings are owned by the struct.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "config/rules.h"
#include "net/addr.h"

enum relay_method {
	RELAY_AUTO,
	RELAY_SOCKMAP,
	RELAY_SPLICE,
	RELAY_COPY,
	RELAY_PACKET,
	RELAY_METHOD_COUNT
};
extern const char *const relay_method_names[RELAY_METHOD_COUNT]; /* as written in the file */

/* Whether tc may take flows over; what becomes of those that it has when the daemon ends. */
enum relay_packet { PACKET_AUTO, PACKET_OFF, PACKET_MODE_COUNT };
enum relay_on_exit { EXIT_KEEP, EXIT_CLOSE, EXIT_COUNT };
extern const char *const relay_packet_names[PACKET_MODE_COUNT];
extern const char *const relay_on_exit_names[EXIT_COUNT];

enum outbound_type {
	OUTBOUND_DIRECT,
	OUTBOUND_BLOCK,
	OUTBOUND_WIREGUARD,
	OUTBOUND_SOCKS,
	OUTBOUND_HTTP,
	OUTBOUND_VLESS,
	OUTBOUND_SELECTOR,
	OUTBOUND_URLTEST,
	OUTBOUND_TYPE_COUNT
};
extern const char *const outbound_type_names[OUTBOUND_TYPE_COUNT];

extern const char *const domain_strategy_names[STRATEGY_COUNT];

extern const char *const network_strategy_names[NETWORK_STRATEGY_COUNT];

enum network_type { TYPE_WIFI, TYPE_CELLULAR, TYPE_ETHERNET, TYPE_OTHER, NETWORK_TYPE_COUNT };
extern const char *const network_type_names[NETWORK_TYPE_COUNT];

/* Whether the server sees the client's own address, and port. */
enum transparent_source {
	SOURCE_OFF,
	SOURCE_ADDRESS,
	SOURCE_ADDRESS_PORT,
	TRANSPARENT_SOURCE_COUNT
};
extern const char *const transparent_source_names[TRANSPARENT_SOURCE_COUNT];

enum dns_server_type { DNS_SERVER_UDP, DNS_SERVER_TCP, DNS_SERVER_LOCAL, DNS_SERVER_TYPE_COUNT };
extern const char *const dns_server_type_names[DNS_SERVER_TYPE_COUNT];

#define CONFIG_NONE        SIZE_MAX /* no index */
#define CONFIG_MARK        0x5ea    /* routing_mark where none is given: deploy/ lets it pass */

#define CONFIG_NETWORK_TCP 1U
#define CONFIG_NETWORK_UDP 2U

struct config_log {
	int level; /* enum log_level of base/log.h */
};

struct config_inbound {
	char *tag;
	struct addr listen; /* address and port; "::" listens on both families */
	unsigned network;   /* CONFIG_NETWORK_* */
	uint32_t mss;       /* TCP; 0: auto */
	uint32_t udp_timeout_ms;
};

#define WIREGUARD_KEY_BYTES 32

struct config_peer {
	char *address; /* IP address or name of the endpoint; NULL: the peer calls us */
	uint16_t port;
	uint8_t public_key[WIREGUARD_KEY_BYTES];
	uint8_t pre_shared_key[WIREGUARD_KEY_BYTES]; /* zero: none */
	struct config_prefix *allowed_ips;
	size_t allowed_ip_count;
	uint32_t keepalive_s; /* 0: off */
};

/* An interface that is there, if there is no private key; else one that seam makes and removes. */
struct config_wireguard {
	char *name;
	uint8_t private_key[WIREGUARD_KEY_BYTES];
	bool create;          /* private_key was given */
	uint16_t listen_port; /* 0: the kernel's choice */
	uint32_t mtu;
	struct config_prefix *addresses; /* of the interface */
	size_t address_count;
	struct config_peer *peers;
	size_t peer_count;
};

enum socks_version { SOCKS_5, SOCKS_4, SOCKS_4A, SOCKS_VERSION_COUNT };
extern const char *const socks_version_names[SOCKS_VERSION_COUNT]; /* "5", "4", "4a" */

struct config_header {
	char *name, *value;
};

#define VLESS_UUID_BYTES 16

/* The server of types socks, http and vless. */
struct config_proxy {
	char *server; /* IP address or name */
	uint16_t port;
	enum socks_version version;                /* socks */
	char *username, *password;                 /* socks, http; NULL: none */
	CONFIG_LIST(struct config_header) headers; /* http */
	uint8_t uuid[VLESS_UUID_BYTES];            /* vless */
};

/* Of types selector and urltest. */
struct config_group {
	CONFIG_LIST(char *) tags;              /* outbounds */
	CONFIG_LIST(size_t) members;           /* indexes of them */
	char *default_tag;                     /* selector; NULL: the first */
	size_t initial;                        /* index into @members */
	char *url;                             /* urltest: http://host[:port]/path, plain */
	uint32_t interval_ms, idle_timeout_ms; /* urltest: between tests; 3 min, 30 min */
	uint32_t
		tolerance_ms; /* urltest: a member is left for another that is faster by this; 50 */
};

struct config_domain_resolver {
	char *server_tag; /* NULL: dns.final */
	size_t server;    /* index into dns.servers */
	int strategy;     /* enum domain_strategy; -1 never: dns.strategy was put in */
};

struct config_outbound {
	enum outbound_type type;
	char *tag;
	char *detour_tag;       /* NULL: none */
	size_t detour;          /* index of it, or CONFIG_NONE */
	char *override_address; /* IP address or name to go to instead; NULL: where the client wanted */
	uint16_t override_port;   /* 0: the client's */
	uint32_t routing_mark;    /* 0: none */
	char *bind_interface;     /* NULL: none */
	struct addr bind4, bind6; /* family AF_UNSPEC: not given */
	bool bind_address_no_port;
	char *protect_path; /* NULL: none */
	char *netns;        /* a name or an absolute path; NULL: our own */
	bool reuse_addr, tcp_fast_open, tcp_multi_path, udp_fragment;
	enum transparent_source transparent_source;
	struct config_domain_resolver domain_resolver;
	bool has_network_strategy; /* network_strategy or network_type was given */
	enum network_strategy network_strategy;
	unsigned network_types,
		fallback_network_types; /* masks of enum network_type; 0: not given */
	uint32_t fallback_delay_ms, attempt_delay_ms, resolution_delay_ms;
	uint32_t connect_timeout_ms; /* of one address */
	uint32_t dial_timeout_ms;    /* of everything until bytes can flow */
	bool keep_alive;             /* false: disable_tcp_keep_alive */
	uint32_t keep_alive_idle_ms, keep_alive_interval_ms;
	uint32_t keep_alive_count;
	struct config_wireguard wireguard; /* of type wireguard */
	struct config_proxy proxy;         /* of types socks, http, vless */
	struct config_group group;         /* of types selector and urltest */
	unsigned proxy_protocol; /* of type direct: 1 or 2, a header before all bytes; 0: none */
};

struct config_dns_server {
	char *tag;
	enum dns_server_type type;
	struct addr server; /* of types udp and tcp; address and port */
	char *detour_tag;   /* NULL: none, sockets are marked and nothing else */
	size_t detour;      /* index of an outbound, or CONFIG_NONE */
};

struct config_dns {
	struct config_dns_server *servers; /* at least one: `local` where none is given */
	size_t server_count;
	size_t final;
	enum domain_strategy strategy;
	uint32_t cache_capacity; /* answers a worker keeps; 0: none */
	CONFIG_LIST(struct config_dns_rule) rules;
	bool reverse_mapping; /* remember which name an address was answered for */
};

/* What the administrator knows better than the kernel. */
struct config_interface {
	char *name;
	enum network_type type;
};

struct config_relay {
	enum relay_method method;
	bool force; /* use the sockmap although the version table says no */
	bool local_clients;
	uint32_t enter_after;  /* user-space reads of a flow before it enters the sockmap */
	uint64_t buffer_limit; /* bytes a direction of a flow may hold */
	uint64_t memory_limit; /* bytes all flows together may hold */
	uint32_t half_close_timeout_ms; /* 0: off */
	uint32_t idle_timeout_ms;       /* 0: off */
	enum relay_packet packet;
	enum relay_on_exit on_exit;
	uint64_t stall_after; /* bytes of a flow before it is stalled to be taken over; 0: never */
};

struct config_limits {
	uint32_t max_flows;                   /* 0: from the limit on open files */
	uint32_t max_udp_sessions;            /* as max_flows */
	uint32_t max_udp_sessions_per_source; /* 0: no limit of their own */
	uint32_t udp_replies; /* sockets; not in the file, from the limit on open files */
	uint32_t drain_timeout_ms;
};

struct config {
	struct config_log log;
	uint32_t workers; /* 0: one a core */
	struct config_inbound *inbounds;
	size_t inbound_count;
	struct config_outbound *outbounds;
	size_t outbound_count;
	size_t final_outbound;      /* index: route.final, else the first */
	bool auto_detect_interface; /* bind each dial to the interface that the kernel's routes name */
	struct config_dns dns;
	struct config_interface *interfaces;
	size_t interface_count;
	CONFIG_LIST(struct config_rule) rules; /* of route, from the top */
	CONFIG_LIST(struct config_rule_set) rule_sets;
	CONFIG_LIST(uint16_t) server_first_ports; /* which sniffing skips */
	struct config_relay relay;
	struct config_limits limits;
	char *control_socket;
};

/* One thing wrong with a configuration. */
struct config_error {
	char *file;
	unsigned line, column; /* from 1; 0: the file as a whole (cannot be read) */
	char *pointer;         /* RFC 6901, "" for the document */
	char *reason;          /* with "did you mean" where a near name exists */
};

struct config_errors {
	struct config_error *list;
	size_t count;
};

/* Reads @path ("-": standard input). 0 and *@ret, to be freed by config_free(); or -EINVAL, with *@ret
 * untouched and every error, in the order of the file, in @errors; or -ENOMEM. @errors may be given
 * zeroed and is to be freed by config_errors_deinit() in every case. */
int config_load(const char *path, struct config **ret, struct config_errors *errors);
void config_free(struct config *config); /* NULL is fine */
void config_errors_deinit(struct config_errors *errors);

/* Lines of `file:line:column: /pointer: reason`, or one JSON array of objects with these names. */
void config_errors_print(const struct config_errors *errors, FILE *out, bool json);
/* One line a key: its name, type with range, (default), help. 0, or -EIO: @out took no more. */
int config_schema_print(FILE *out);
