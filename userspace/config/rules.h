/* rules - what is routed how, as plain data; route/ makes of it what decides. Part of config.h. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "net/addr.h"
#include "net/protocol.h"

enum domain_strategy {
	STRATEGY_PREFER_IPV4,
	STRATEGY_PREFER_IPV6,
	STRATEGY_IPV4_ONLY,
	STRATEGY_IPV6_ONLY,
	STRATEGY_COUNT
};
enum network_strategy { NETWORK_DEFAULT, NETWORK_HYBRID, NETWORK_FALLBACK, NETWORK_STRATEGY_COUNT };

enum rule_action {
	ACTION_ROUTE,
	ACTION_ROUTE_OPTIONS,
	ACTION_REJECT,
	ACTION_SNIFF,
	ACTION_RESOLVE,
	ACTION_HIJACK_DNS,
	ACTION_COUNT
};
extern const char *const rule_action_names[ACTION_COUNT]; /* "route", "route-options", ... */

enum reject_method { REJECT_DEFAULT, REJECT_DROP, REJECT_METHOD_COUNT };
extern const char *const reject_method_names[REJECT_METHOD_COUNT];

struct config_prefix {
	struct addr addr; /* the port is 0 */
	uint8_t bits;
};

struct config_ports {
	uint16_t first, last;
};

struct config_mac {
	uint8_t bytes[6];
};

#define CONFIG_LIST(type)     \
	struct {              \
		type *list;   \
		size_t count; \
	}

/* A condition. Fields that are given must all hold, of a list any one will do; but the destination group
 * (domain*, ip_cidr, ip_is_private, rule_set) is one condition of which any will do, and so are port with
 * port_range, source_ip_cidr with source_ip_is_private, source_port with source_port_range (as in
 * sing-box). Nothing given: holds always. */
struct config_match {
	bool logical,
		any; /* type logical: all, or with mode "or" any, of @rules; the fields are not used */
	CONFIG_LIST(struct config_match) rules;
	CONFIG_LIST(size_t) inbounds; /* indexes */
	unsigned networks;            /* CONFIG_NETWORK_*; 0: not given */
	uint32_t protocols;           /* mask of enum protocol; 0: not given */
	uint64_t dscp;                /* mask of 0..63; 0: not given */
	CONFIG_LIST(struct config_prefix) ip_cidr;
	CONFIG_LIST(struct config_prefix) source_ip_cidr;
	bool ip_is_private, source_ip_is_private;
	CONFIG_LIST(struct config_ports) ports; /* port and port_range */
	CONFIG_LIST(struct config_ports) source_ports;
	CONFIG_LIST(char *) domain;        /* lower case without a trailing dot, as the next two */
	CONFIG_LIST(char *) domain_suffix; /* "example.org": it and below; ".example.org": below */
	CONFIG_LIST(char *) domain_keyword;
	CONFIG_LIST(char *) domain_regex; /* PCRE2, caseless; its syntax is checked by route/ */
	CONFIG_LIST(struct config_mac) source_mac;
	CONFIG_LIST(char *) interfaces; /* names of those that the connection came in by */
	CONFIG_LIST(uint32_t) marks;    /* of the connection's packets */
	CONFIG_LIST(size_t) rule_sets;  /* indexes into config.rule_sets */
	bool invert;
};

/* What a rule changes for what comes after it; given or not. */
struct config_route_options {
	char *override_address; /* IP address or name; NULL: not given */
	uint16_t override_port; /* 0: not given */
	bool has_network_strategy, has_fallback_delay, has_udp_timeout, has_tls_delay;
	enum network_strategy network_strategy;
	uint32_t fallback_delay_ms;
	bool udp_connect, udp_disable_domain_unmapping; /* can only be turned on, as the next two */
	bool tls_fragment, tls_record_fragment;
	uint32_t udp_timeout_ms;
	uint32_t tls_fragment_fallback_delay_ms; /* 500 */
};

struct config_rule {
	struct config_match match;
	enum rule_action action;
	size_t outbound; /* ACTION_ROUTE: index */
	char *outbound_tag;
	struct config_route_options options; /* ACTION_ROUTE, ACTION_ROUTE_OPTIONS */
	enum reject_method reject;           /* ACTION_REJECT */
	struct {                             /* ACTION_SNIFF */
		uint32_t protocols;          /* mask of enum protocol; 0: all */
		uint32_t timeout_ms;         /* 300 */
		bool override_destination;   /* the name becomes the destination */
	} sniff;
	struct {                  /* ACTION_RESOLVE */
		char *server_tag; /* NULL: dns.final */
		size_t server;
		int strategy; /* enum domain_strategy: filled in */
	} resolve;
};

/* The match part of rules from a file of its own: {"version": 1, "rules": [...]}. */
struct config_rule_set {
	char *tag, *path;
	CONFIG_LIST(struct config_match) rules; /* any will do */
};

/* Which server answers a hijacked question; of the match only domain*, inbounds, source* and rule_sets. */
struct config_dns_rule {
	struct config_match match;
	char *server_tag;
	size_t server;
};
