/* build - from the configuration to what the workers share. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dns/reverse.h"
#include "flow/worker.h"

static int build_inbounds(const struct config *config, struct flow_config *f)
{
	f->inbounds = calloc(config->inbound_count, sizeof(*f->inbounds));
	if (!f->inbounds)
		return -ENOMEM;
	f->inbound_count = config->inbound_count;
	for (size_t i = 0; i < f->inbound_count; i++) {
		f->inbounds[i] =
			(struct inbound){ .tag = strdup(config->inbounds[i].tag),
					  .listen = config->inbounds[i].listen,
					  .network = config->inbounds[i].network,
					  .mss = config->inbounds[i].mss,
					  .udp_timeout_ms = config->inbounds[i].udp_timeout_ms };
		if (!f->inbounds[i].tag)
			return -ENOMEM;
	}
	return 0;
}

static int build_override(const struct config_outbound *from, struct outbound *to)
{
	struct target *target = &to->override;

	if (from->override_address && addr_parse(from->override_address, 0, &target->addr)) {
		to->override_domain = strdup(from->override_address);
		if (!to->override_domain)
			return -ENOMEM;
		target->domain = to->override_domain;
	}
	target->addr.port = from->override_port;
	return 0;
}

static bool may_be_multi_path(const struct config *config)
{
	for (size_t i = 0; i < config->outbound_count; i++)
		if (config->outbounds[i].tcp_multi_path)
			return true;
	return false;
}

static int build_outbound(const struct config *config, size_t i, struct flow_config *f)
{
	const struct config_outbound *from = &config->outbounds[i];
	struct outbound *to = &f->outbounds[i];

	*to = (struct outbound){ .tag = strdup(from->tag),
				 .dialer = dialers_get(f->dialers, i),
				 .dial_timeout_ms = from->dial_timeout_ms,
				 .connect_timeout_ms = from->connect_timeout_ms,
				 .multi_path = may_be_multi_path(config),
				 .keep_alive = { .enabled = from->keep_alive,
						 .idle_ms = from->keep_alive_idle_ms,
						 .interval_ms = from->keep_alive_interval_ms,
						 .count = from->keep_alive_count } };
	return to->tag ? build_override(from, to) : -ENOMEM;
}

static int build_outbounds(const struct config *config, struct flow_config *f)
{
	int r = 0;

	f->outbounds = calloc(config->outbound_count, sizeof(*f->outbounds));
	if (!f->outbounds)
		return -ENOMEM;
	f->outbound_count = config->outbound_count;
	for (size_t i = 0; !r && i < f->outbound_count; i++)
		r = build_outbound(config, i, f);
	f->final = &f->outbounds[config->final_outbound];
	return r;
}

static int build_rules(const struct config *config, struct flow_config *f, char *reason)
{
	int r = route_rules_new(&f->rules, config, reason);

	if (r)
		return r;
	f->needs = route_rules_need(f->rules);
	f->server_first_ports = config->server_first_ports.list;
	f->server_first_port_count = config->server_first_ports.count;
	return 0;
}

int flow_config_build(const struct config *config, struct flow_config **ret, char *reason)
{
	struct flow_config *f = calloc(1, sizeof(*f));
	int r;

	snprintf(reason, 256, "out of memory");
	if (!f)
		return -ENOMEM;
	f->config = config;
	f->dns = &config->dns;
	f->relay = config->relay;
	f->workers = config->workers;
	f->max_flows = config->limits.max_flows;
	f->max_udp_sessions = config->limits.max_udp_sessions;
	f->max_udp_sessions_per_source = config->limits.max_udp_sessions_per_source;
	f->udp_replies = config->limits.udp_replies;
	r = build_inbounds(config, f);
	if (!r)
		r = dialers_new(&f->dialers, config, reason);
	if (!r && config->dns.reverse_mapping)
		r = dns_reverse_new(&f->reverse);
	if (!r && config->rules.count)
		r = build_rules(config, f, reason);
	if (!r)
		r = build_outbounds(config, f);
	if (r) {
		flow_config_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void flow_config_free(struct flow_config *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->inbound_count; i++)
		free(f->inbounds[i].tag);
	for (size_t i = 0; i < f->outbound_count; i++) {
		free(f->outbounds[i].tag);
		free(f->outbounds[i].override_domain);
	}
	free(f->inbounds);
	free(f->outbounds);
	dns_reverse_free(f->reverse);
	route_rules_free(f->rules);
	dialers_free(f->dialers);
	free(f);
}
