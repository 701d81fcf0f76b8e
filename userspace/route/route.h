/* route - decides what happens to a connection: pure, no wait, no allocation.
 *
 * Rules are gone through from the top. An action that has to be carried out before the next rule can be
 * asked (sniff, resolve) is returned, and the caller goes on from the rule after it with what it learned.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "config/config.h"
#include "net/addr.h"
#include "net/protocol.h"

#define ROUTE_RESOLVED_MAX 32

/* What is known of a connection. */
struct route_meta {
	size_t inbound;
	unsigned network; /* CONFIG_NETWORK_TCP or _UDP */
	struct addr source;
	struct addr destination; /* AF_UNSPEC: only @domain is known */
	const char *domain;      /* lower case, no trailing dot; NULL: not known */
	enum protocol protocol;
	const struct addr
		*resolved; /* of the domain: ip_cidr and ip_is_private look at these too */
	size_t resolved_count;
	const uint8_t *source_mac; /* 6 bytes; NULL: not known */
	const char *interface;     /* it came in by; NULL: not known */
	uint32_t mark;
	uint8_t dscp;
};

/* Which of the facts that cost a system call any rule looks at. */
struct route_needs {
	bool source_mac, interface, mark, dscp;
};

struct route_options {
	const char *override_address; /* IP address or name; NULL: none */
	uint16_t override_port;       /* 0: none */
	bool has_network_strategy, has_fallback_delay, has_udp_timeout;
	enum network_strategy network_strategy;
	uint32_t fallback_delay_ms, udp_timeout_ms;
	bool udp_connect, udp_disable_domain_unmapping, tls_fragment, tls_record_fragment;
	uint32_t tls_fragment_fallback_delay_ms;
};

struct route_verdict {
	enum rule_action action; /* not ACTION_ROUTE_OPTIONS: those are merged into @options */
	size_t rule; /* index of the rule that said so; the count of rules: route.final */
	const struct config_rule *config; /* its data; NULL for route.final */
	size_t outbound;                  /* ACTION_ROUTE */
	struct route_options options;     /* of all rules so far */
};

struct route_rules;
/* @config outlives the rules. -EINVAL: a regular expression or the like is wrong: @reason (256 bytes) says
 * which rule. -ENOMEM. */
int route_rules_new(struct route_rules **ret, const struct config *config, char *reason);
void route_rules_free(struct route_rules *rules); /* NULL is fine */
struct route_needs route_rules_need(const struct route_rules *rules);
/* Goes on at rule @from (0 at first, then verdict.rule + 1), with the options that earlier rules set in
 * @verdict->options (zeroed at first). */
void route_decide(const struct route_rules *rules, const struct route_meta *meta, size_t from,
		  struct route_verdict *verdict);
/* The DNS server for a question about @meta->domain: dns.rules, else dns.final. */
size_t route_dns_server(const struct route_rules *rules, const struct route_meta *meta);
