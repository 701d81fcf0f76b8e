/* build - one chain an outbound: [handshake] -> race -> [interfaces] -> direct, or the chain of its detour. */
#include "dial/build.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "dial/direct.h"
#include "dial/group.h"
#include "dial/handshake.h"
#include "dial/interfaces.h"
#include "dial/race.h"
#include "net/netns.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define REASON_MAX 256

/* What an outbound's dials go through, from the last to the first. Any may be NULL; of `block` all are. */
struct chain {
	const struct dialer *top; /* what is dialed; one of these */
	struct group_dialer *group;
	struct race_dialer *names; /* above a proxy that wants addresses */
	struct handshake_dialer *handshake;
	const char **headers; /* of @handshake, owned; the strings are the configuration's */
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

static int new_race(struct race_dialer **ret, const struct config_outbound *outbound,
		    const struct dialer *via)
{
	struct race_dialer *race = calloc(1, sizeof(*race));

	if (!race)
		return -ENOMEM;
	*race = (struct race_dialer){
		.base.ops = &dial_race_ops,
		.via = via,
		.server = outbound->domain_resolver.server,
		.strategy = (enum domain_strategy)outbound->domain_resolver.strategy,
		.attempt_delay_ms = outbound->attempt_delay_ms,
		.fallback_delay_ms = outbound->fallback_delay_ms,
		.resolution_delay_ms = outbound->resolution_delay_ms,
		.serial = outbound->tcp_fast_open,
	};
	*ret = race;
	return 0;
}

static const struct handshake_ops *handshake_of(const struct config_outbound *outbound)
{
	switch (outbound->type) {
	case OUTBOUND_SOCKS:
		return outbound->proxy.version == SOCKS_5 ? &socks5_handshake : &socks4_handshake;
	case OUTBOUND_HTTP:
		return &http_connect_handshake;
	case OUTBOUND_VLESS:
		return &vless_handshake;
	default:
		if (!outbound->proxy_protocol)
			return NULL;
		return outbound->proxy_protocol == 1 ? &proxy_v1_handshake : &proxy_v2_handshake;
	}
}

static int copy_headers(struct chain *chain, const struct config_proxy *proxy)
{
	size_t n = 0;

	if (!proxy->headers.count)
		return 0;
	chain->headers = calloc(2 * proxy->headers.count + 1, sizeof(*chain->headers));
	if (!chain->headers)
		return -ENOMEM;
	for (size_t i = 0; i < proxy->headers.count; i++) {
		chain->headers[n++] = proxy->headers.list[i].name;
		chain->headers[n++] = proxy->headers.list[i].value;
	}
	return 0;
}

static int build_handshake(struct chain *chain, const struct config_outbound *outbound)
{
	const struct config_proxy *proxy = &outbound->proxy;
	const struct handshake_ops *ops = handshake_of(outbound);
	struct handshake_dialer *handshake;

	if (!ops)
		return 0;
	if (copy_headers(chain, proxy))
		return -ENOMEM;
	handshake = chain->handshake = calloc(1, sizeof(*handshake));
	if (!handshake)
		return -ENOMEM;
	*handshake = (struct handshake_dialer){
		.base.ops = &dial_handshake_ops,
		.via = &chain->race->base,
		.ops = ops,
		.config = { .username = proxy->username,
			    .password = proxy->password,
			    .uuid = proxy->uuid,
			    .headers = chain->headers },
		.keep_alive = { .enabled = outbound->keep_alive,
				.idle_ms = outbound->keep_alive_idle_ms,
				.interval_ms = outbound->keep_alive_interval_ms,
				.count = outbound->keep_alive_count }
	};
	if (proxy->server && addr_parse(proxy->server, proxy->port, &handshake->proxy.addr)) {
		handshake->proxy_domain = strdup(proxy->server);
		if (!handshake->proxy_domain)
			return -ENOMEM;
		handshake->proxy.domain = handshake->proxy_domain;
	}
	handshake->proxy.addr.port = proxy->port;
	if (outbound->type == OUTBOUND_SOCKS && proxy->version == SOCKS_4)
		return new_race(&chain->names, outbound, &handshake->base);
	return 0;
}

static int build_group(struct chain *chain, const struct config_group *group)
{
	chain->group = calloc(1, sizeof(*chain->group));
	if (!chain->group)
		return -ENOMEM;
	chain->group->base.ops = &dial_group_ops;
	chain->group->members = calloc(group->members.count, sizeof(const struct dialer *));
	chain->group->used_ms = calloc(1, sizeof(*chain->group->used_ms));
	if (!chain->group->members || !chain->group->used_ms)
		return -ENOMEM;
	chain->group->count = group->members.count;
	atomic_init(&chain->group->selected, group->initial);
	return 0;
}

static int build_layers(struct chain *chain, const struct config_outbound *outbound,
			const struct config *config, char *reason)
{
	int r = 0;

	if (outbound->detour == CONFIG_NONE) {
		r = build_direct(chain, outbound, config, reason);
		if (!r)
			r = build_interfaces(chain, outbound);
	}
	if (!r) /* with a detour it gets its @via from link_chains() */
		r = new_race(&chain->race, outbound,
			     chain->interfaces ? &chain->interfaces->base
			     : chain->direct   ? &chain->direct->base
					       : NULL);
	return r ? r : build_handshake(chain, outbound);
}

static int build_chain(struct dialers *dialers, size_t i, const struct config *config, char *reason)
{
	const struct config_outbound *outbound = &config->outbounds[i];
	struct chain *chain = &dialers->chains[i];
	int r = 0;

	if (outbound->type == OUTBOUND_SELECTOR || outbound->type == OUTBOUND_URLTEST)
		r = build_group(chain, &outbound->group);
	else if (outbound->type != OUTBOUND_BLOCK)
		r = build_layers(chain, outbound, config, reason);
	chain->top = chain->group       ? &chain->group->base
		     : chain->names     ? &chain->names->base
		     : chain->handshake ? &chain->handshake->base
		     : chain->race      ? &chain->race->base
					: NULL;
	return r;
}

/* The outbound whose sockets a dial through @outbound comes to use. The configuration has no cycles. */
static size_t last_of_chain(const struct config *config, size_t outbound)
{
	while (config->outbounds[outbound].detour != CONFIG_NONE)
		outbound = config->outbounds[outbound].detour;
	return outbound;
}

static int block_start(struct dial *dial)
{
	dial->call = "block";
	return -EPERM;
}

/* Stands for a `block` outbound in a group: only there is it dialed. */
static const struct dialer_ops block_ops = { .name = "block",
					     .dial_size = sizeof(struct dial),
					     .start = block_start };
static const struct dialer block = { .ops = &block_ops };

static void link_group(struct dialers *dialers, const struct chain *chain,
		       const struct config_group *group)
{
	for (size_t i = 0; i < group->members.count; i++) {
		const struct dialer *member = dialers->chains[group->members.list[i]].top;

		chain->group->members[i] = member ? member : &block;
	}
}

/* A detour is the dialer below. */
static void link_chains(struct dialers *dialers, const struct config *config)
{
	for (size_t i = 0; i < dialers->count; i++) {
		size_t detour = config->outbounds[i].detour;
		struct race_dialer *race = dialers->chains[i].race;

		if (dialers->chains[i].group)
			link_group(dialers, &dialers->chains[i], &config->outbounds[i].group);
		if (detour == CONFIG_NONE || !race)
			continue;
		race->via = dialers->chains[detour].top;
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

		if (chain->group)
			free_one(&chain->group->base);
		if (chain->names)
			free_one(&chain->names->base);
		if (chain->handshake)
			free_one(&chain->handshake->base);
		free(chain->headers);
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
	return dialers->chains[outbound].top;
}

struct group_dialer *dialers_group(const struct dialers *dialers, size_t outbound)
{
	return dialers->chains[outbound].group;
}

int dialers_dns_socket(void *ctx, size_t server, sa_family_t family, int type)
{
	const struct dialers *dialers = ctx;
	const char *call;

	return direct_open(dialers->servers[server].options, family, type, &call);
}
