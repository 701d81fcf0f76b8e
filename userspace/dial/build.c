/* build - one chain an outbound: race -> [interfaces] -> direct, or race -> the chain of its detour. */
#include "dial/build.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "dial/direct.h"
#include "dial/interfaces.h"
#include "dial/race.h"
#include "net/netns.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define REASON_MAX 256

/* All NULL of a `block` outbound; all but @race of one with a detour. */
struct chain {
	struct race_dialer *race;
	struct interfaces_dialer *interfaces;
	struct direct_dialer *direct;
	struct netns *netns;
};

struct dialers {
	size_t count;
	struct chain *chains;
	size_t server_count;
	struct dns_way {
		const struct direct_options *options; /* in a chain, or &marked */
	} * servers;
	struct direct_options marked;
};

static int refuse(char *reason, const struct config_outbound *config, int err, const char *call,
		  const char *hint)
{
	snprintf(reason, REASON_MAX, "outbound %s: %s: %s%s", config->tag, call, strerror(-err),
		 hint);
	return err;
}

/* What would fail at every dial fails at the start instead. */
static int check_kernel(const struct config_outbound *config, char *reason)
{
	int fd, err;

	if (!config->tcp_multi_path)
		return 0;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);
	err = errno;
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	return refuse(reason, config, -err, "tcp_multi_path: socket(IPPROTO_MPTCP)",
		      "; it takes CONFIG_MPTCP and the sysctl net.mptcp.enabled");
}

static int set_options(struct direct_options *to, const struct config_outbound *from,
		       const struct config *config)
{
	const char *interface = from->type == OUTBOUND_WIREGUARD ? from->wireguard.name
								 : from->bind_interface;

	*to = (struct direct_options){ .routing_mark = from->routing_mark,
				       .bind4 = from->bind4,
				       .bind6 = from->bind6,
				       .bind_address_no_port = from->bind_address_no_port,
				       .reuse_addr = from->reuse_addr,
				       .tcp_fast_open = from->tcp_fast_open,
				       .tcp_multi_path = from->tcp_multi_path,
				       .udp_fragment = from->udp_fragment,
				       .transparent_source = from->transparent_source,
				       .auto_detect_interface = config->auto_detect_interface &&
								!from->has_network_strategy &&
								!from->netns };
	if (interface)
		snprintf(to->bind_interface, sizeof(to->bind_interface), "%s", interface);
	if (from->protect_path) {
		to->protect_path = strdup(from->protect_path);
		if (!to->protect_path)
			return -ENOMEM;
	}
	return 0;
}

static int open_netns(struct chain *chain, const struct config_outbound *config, char *reason)
{
	const char *call;
	int r;

	if (!config->netns)
		return 0;
	r = netns_new(&chain->netns, config->netns, &call);
	if (r)
		return refuse(reason, config, r, call,
			      r == -EPERM ? " (netns; it takes CAP_SYS_ADMIN)" : " (netns)");
	chain->direct->options.netns = chain->netns;
	return 0;
}

static int build_direct(struct chain *chain, const struct config_outbound *outbound,
			const struct config *config, char *reason)
{
	int r = check_kernel(outbound, reason);

	if (r)
		return r;
	chain->direct = calloc(1, sizeof(*chain->direct));
	if (!chain->direct)
		return -ENOMEM;
	chain->direct->base.ops = &dial_direct_ops;
	chain->direct->connect_timeout_ms = outbound->connect_timeout_ms;
	r = set_options(&chain->direct->options, outbound, config);
	if (!r)
		r = open_netns(chain, outbound, reason);
	return r;
}

/* Rules may bring a strategy; sockets that are bound have none. */
static int build_interfaces(struct chain *chain, const struct config_outbound *outbound)
{
	if (outbound->type != OUTBOUND_DIRECT || outbound->bind_interface || outbound->netns ||
	    outbound->bind4.family || outbound->bind6.family || outbound->tcp_fast_open)
		return 0;
	chain->interfaces = interfaces_dialer_new();
	if (!chain->interfaces)
		return -ENOMEM;
	chain->interfaces->via = &chain->direct->base;
	chain->interfaces->always = outbound->has_network_strategy;
	chain->interfaces->strategy =
		(struct strategy){ .kind = outbound->network_strategy,
				   .types = outbound->network_types,
				   .fallback_types = outbound->fallback_network_types };
	chain->interfaces->fallback_delay_ms = outbound->fallback_delay_ms;
	chain->interfaces->routing_mark = outbound->routing_mark;
	return 0;
}

static int build_race(struct chain *chain, const struct config_outbound *outbound)
{
	chain->race = calloc(1, sizeof(*chain->race));
	if (!chain->race)
		return -ENOMEM;
	*chain->race = (struct race_dialer){
		.base.ops = &dial_race_ops,
		.via = chain->interfaces ? &chain->interfaces->base
		       : chain->direct   ? &chain->direct->base
					 : NULL, /* a detour: link_chains() */
		.server = outbound->domain_resolver.server,
		.strategy = (enum domain_strategy)outbound->domain_resolver.strategy,
		.attempt_delay_ms = outbound->attempt_delay_ms,
		.fallback_delay_ms = outbound->fallback_delay_ms,
		.resolution_delay_ms = outbound->resolution_delay_ms,
		.serial = outbound->tcp_fast_open,
	};
	return 0;
}

static int build_chain(struct dialers *dialers, size_t i, const struct config *config, char *reason)
{
	const struct config_outbound *outbound = &config->outbounds[i];
	struct chain *chain = &dialers->chains[i];
	int r = 0;

	if (outbound->type == OUTBOUND_BLOCK)
		return 0;
	if (outbound->detour == CONFIG_NONE) {
		r = build_direct(chain, outbound, config, reason);
		if (!r)
			r = build_interfaces(chain, outbound);
	}
	return r ? r : build_race(chain, outbound);
}

/* The outbound whose sockets a dial through @outbound comes to use. The configuration has no cycles. */
static size_t last_of_chain(const struct config *config, size_t outbound)
{
	while (config->outbounds[outbound].detour != CONFIG_NONE)
		outbound = config->outbounds[outbound].detour;
	return outbound;
}

/* A detour is the dialer below. */
static void link_chains(struct dialers *dialers, const struct config *config)
{
	for (size_t i = 0; i < dialers->count; i++) {
		size_t detour = config->outbounds[i].detour;
		struct race_dialer *race = dialers->chains[i].race;

		if (detour == CONFIG_NONE || !race)
			continue;
		race->via = &dialers->chains[detour].race->base;
		race->serial = config->outbounds[last_of_chain(config, i)].tcp_fast_open;
	}
}

/* NULL: of a `block` outbound. */
static const struct direct_options *options_of(const struct dialers *dialers,
					       const struct config *config, size_t outbound)
{
	const struct direct_dialer *direct =
		dialers->chains[last_of_chain(config, outbound)].direct;

	return direct ? &direct->options : NULL;
}

static int build_dns(struct dialers *dialers, const struct config *config)
{
	const struct direct_options *final = options_of(dialers, config, config->final_outbound);

	dialers->marked = (struct direct_options){
		.routing_mark = final ? final->routing_mark : CONFIG_MARK,
		.udp_fragment = true,
	};
	dialers->servers = calloc(config->dns.server_count, sizeof(*dialers->servers));
	if (!dialers->servers)
		return -ENOMEM;
	dialers->server_count = config->dns.server_count;
	for (size_t i = 0; i < dialers->server_count; i++) {
		size_t detour = config->dns.servers[i].detour;

		dialers->servers[i].options = detour == CONFIG_NONE
						      ? &dialers->marked
						      : options_of(dialers, config, detour);
	}
	return 0;
}

int dialers_new(struct dialers **ret, const struct config *config, char *reason)
{
	struct dialers *dialers = calloc(1, sizeof(*dialers));
	int r = 0;

	snprintf(reason, REASON_MAX, "out of memory");
	if (!dialers)
		return -ENOMEM;
	dialers->chains = calloc(config->outbound_count, sizeof(*dialers->chains));
	if (!dialers->chains)
		r = -ENOMEM;
	else
		dialers->count = config->outbound_count;
	for (size_t i = 0; !r && i < dialers->count; i++)
		r = build_chain(dialers, i, config, reason);
	if (!r) {
		link_chains(dialers, config);
		r = build_dns(dialers, config);
	}
	if (r) {
		dialers_free(dialers);
		return r;
	}
	*ret = dialers;
	return 0;
}

static void free_one(struct dialer *dialer)
{
	dialer->ops->free(dialer);
}

void dialers_free(struct dialers *dialers)
{
	if (!dialers)
		return;
	for (size_t i = 0; i < dialers->count; i++) {
		struct chain *chain = &dialers->chains[i];

		if (chain->race)
			free_one(&chain->race->base);
		if (chain->interfaces)
			free_one(&chain->interfaces->base);
		if (chain->direct)
			free_one(&chain->direct->base);
		netns_free(chain->netns);
	}
	free(dialers->chains);
	free(dialers->servers);
	free(dialers);
}

const struct dialer *dialers_get(const struct dialers *dialers, size_t outbound)
{
	const struct race_dialer *race = dialers->chains[outbound].race;

	return race ? &race->base : NULL;
}

int dialers_dns_socket(void *ctx, size_t server, sa_family_t family, int type)
{
	const struct dialers *dialers = ctx;
	const char *call;

	return direct_open(dialers->servers[server].options, family, type, &call);
}
