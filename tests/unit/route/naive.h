/* naive - what route/ decides, the slow and obvious way: every rule in order, all lists in full. */
#pragma once
#include <errno.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/names.h"
#include "route/route.h"

/* The two members of a CONFIG_LIST. */
#define LIST(...)                                                                          \
	{                                                                                  \
		.list = __VA_ARGS__, .count = sizeof(__VA_ARGS__) / sizeof(*(__VA_ARGS__)) \
	}
#define STRINGS(...)  LIST((char *[]){ __VA_ARGS__ })
#define INDEXES(...)  LIST((size_t[]){ __VA_ARGS__ })
#define PREFIXES(...) LIST((struct config_prefix[]){ __VA_ARGS__ })

static inline struct addr address(const char *text, uint16_t port)
{
	struct addr addr;

	if (addr_parse(text, port, &addr))
		fail_msg("\"%s\" is no address", text);
	return addr;
}

static inline struct config_prefix prefix(const char *text, uint8_t bits)
{
	return (struct config_prefix){ .addr = address(text, 0), .bits = bits };
}

static inline bool naive_contains(const struct config_prefix *prefix, const struct addr *addr)
{
	const uint8_t *a = (const uint8_t *)&prefix->addr.v6, *b = (const uint8_t *)&addr->v6;

	if (prefix->addr.family != addr->family)
		return false;
	for (unsigned i = 0; i < prefix->bits; i++)
		if ((a[i / 8] ^ b[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}

static inline bool naive_in(const struct config_prefix *list, size_t count, const struct addr *addr)
{
	for (size_t i = 0; i < count; i++)
		if (naive_contains(&list[i], addr))
			return true;
	return false;
}

static inline bool naive_private(const struct addr *addr)
{
	static struct config_prefix list[15];

	if (!list[0].bits) {
		struct config_prefix all[] = {
			prefix("10.0.0.0", 8),     prefix("172.16.0.0", 12),
			prefix("192.168.0.0", 16), prefix("100.64.0.0", 10),
			prefix("127.0.0.0", 8),    prefix("169.254.0.0", 16),
			prefix("224.0.0.0", 4),    prefix("255.255.255.255", 32),
			prefix("0.0.0.0", 32),     prefix("fc00::", 7),
			prefix("fe80::", 10),      prefix("ff00::", 8),
			prefix("::", 128),         prefix("::1", 128),
		};

		memcpy(list, all, sizeof(all));
	}
	return naive_in(list, 14, addr);
}

static inline bool naive_below(const char *name, const char *dot_suffix)
{
	size_t length = strlen(name), suffix = strlen(dot_suffix);

	return length >= suffix && !strcmp(name + length - suffix, dot_suffix);
}

static inline bool naive_suffix(const char *name, const char *suffix)
{
	char below[300];

	if (suffix[0] == '.')
		return naive_below(name, suffix);
	snprintf(below, sizeof(below), ".%s", suffix);
	return !strcmp(name, suffix) || naive_below(name, below);
}

static inline bool naive_regex(const char *name, const char *pattern)
{
	regex_t regex;
	bool found;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_ICASE | REG_NOSUB), 0);
	found = !regexec(&regex, name, 0, NULL, 0);
	regfree(&regex);
	return found;
}

static inline bool naive_domain(const struct config_match *match, const char *name)
{
	for (size_t i = 0; i < match->domain.count; i++)
		if (!strcmp(match->domain.list[i], name))
			return true;
	for (size_t i = 0; i < match->domain_suffix.count; i++)
		if (naive_suffix(name, match->domain_suffix.list[i]))
			return true;
	for (size_t i = 0; i < match->domain_keyword.count; i++)
		if (strstr(name, match->domain_keyword.list[i]))
			return true;
	for (size_t i = 0; i < match->domain_regex.count; i++)
		if (naive_regex(name, match->domain_regex.list[i]))
			return true;
	return false;
}

static inline bool naive_holds(const struct config *config, const struct config_match *match,
			       const struct route_meta *meta);

static inline bool naive_set(const struct config *config, const struct config_rule_set *set,
			     const struct route_meta *meta)
{
	for (size_t i = 0; i < set->rules.count; i++)
		if (naive_holds(config, &set->rules.list[i], meta))
			return true;
	return false;
}

static inline bool naive_address(const struct config_match *match, const struct addr *addr)
{
	return naive_in(match->ip_cidr.list, match->ip_cidr.count, addr) ||
	       (match->ip_is_private && naive_private(addr));
}

static inline bool naive_destination(const struct config *config, const struct config_match *match,
				     const struct route_meta *meta)
{
	if (!match->domain.count && !match->domain_suffix.count && !match->domain_keyword.count &&
	    !match->domain_regex.count && !match->ip_cidr.count && !match->ip_is_private &&
	    !match->rule_sets.count)
		return true;
	if ((meta->domain && naive_domain(match, meta->domain)) ||
	    naive_address(match, &meta->destination))
		return true;
	for (size_t i = 0; i < meta->resolved_count; i++)
		if (naive_address(match, &meta->resolved[i]))
			return true;
	for (size_t i = 0; i < match->rule_sets.count; i++)
		if (naive_set(config, &config->rule_sets.list[match->rule_sets.list[i]], meta))
			return true;
	return false;
}

static inline bool naive_port(const struct config_ports *list, size_t count, uint16_t port)
{
	bool any = !count;

	for (size_t i = 0; i < count; i++)
		any |= list[i].first <= port && port <= list[i].last;
	return any;
}

static inline bool naive_origin(const struct config_match *match, const struct route_meta *meta)
{
	bool inbound = !match->inbounds.count, mark = !match->marks.count;
	bool mac = !match->source_mac.count, interface = !match->interfaces.count;

	for (size_t i = 0; i < match->inbounds.count; i++)
		inbound |= match->inbounds.list[i] == meta->inbound;
	for (size_t i = 0; i < match->marks.count; i++)
		mark |= match->marks.list[i] == meta->mark;
	for (size_t i = 0; meta->source_mac && i < match->source_mac.count; i++)
		mac |= !memcmp(match->source_mac.list[i].bytes, meta->source_mac, 6);
	for (size_t i = 0; meta->interface && i < match->interfaces.count; i++)
		interface |= !strcmp(match->interfaces.list[i], meta->interface);
	return inbound && mark && mac && interface;
}

static inline bool naive_source(const struct config_match *match, const struct route_meta *meta)
{
	return (!match->source_ip_cidr.count && !match->source_ip_is_private) ||
	       naive_in(match->source_ip_cidr.list, match->source_ip_cidr.count, &meta->source) ||
	       (match->source_ip_is_private && naive_private(&meta->source));
}

static inline bool naive_fields(const struct config *config, const struct config_match *match,
				const struct route_meta *meta)
{
	return (!match->networks || match->networks & meta->network) &&
	       (!match->protocols || match->protocols & 1U << meta->protocol) &&
	       (!match->dscp || match->dscp & 1ULL << meta->dscp) &&
	       naive_port(match->ports.list, match->ports.count, meta->destination.port) &&
	       naive_port(match->source_ports.list, match->source_ports.count, meta->source.port) &&
	       naive_origin(match, meta) && naive_source(match, meta) &&
	       naive_destination(config, match, meta);
}

static inline bool naive_holds(const struct config *config, const struct config_match *match,
			       const struct route_meta *meta)
{
	size_t held = 0;

	if (!match->logical)
		return naive_fields(config, match, meta) != match->invert;
	for (size_t i = 0; i < match->rules.count; i++)
		held += naive_holds(config, &match->rules.list[i], meta);
	return (match->any ? held > 0 : held == match->rules.count) != match->invert;
}

/* The first rule from @from on that holds, or their count. */
static inline size_t naive_first(const struct config *config, const struct route_meta *meta,
				 size_t from)
{
	while (from < config->rules.count &&
	       !naive_holds(config, &config->rules.list[from].match, meta))
		from++;
	return from;
}

static inline size_t naive_dns_server(const struct config *config, const struct route_meta *meta)
{
	for (size_t i = 0; i < config->dns.rules.count; i++)
		if (naive_holds(config, &config->dns.rules.list[i].match, meta))
			return config->dns.rules.list[i].server;
	return config->dns.final;
}

static inline struct route_rules *compiled(const struct config *config)
{
	struct route_rules *rules = NULL;
	char reason[256] = "";
	int r = route_rules_new(&rules, config, reason);

	if (r)
		fail_msg("route_rules_new: %d, %s", r, reason);
	return rules;
}
