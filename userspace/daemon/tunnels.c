#include "daemon/tunnels.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "dns/resolver.h"
#include "kern/wireguard.h"

#define RETRY_FIRST_MS 1000U
#define RETRY_MOST_MS  60000U
#define REFRESH_S      60U    /* at the earliest */
#define REFRESH_MOST_S 86400U /* whatever the TTL */

struct tunnel;

/* A peer whose endpoint has a name. */
struct tunnel_peer {
	struct tunnel *tunnel;
	char *name;
	size_t index; /* in the configuration of the interface */
	uint16_t port;
	unsigned turn; /* which type of the strategy is asked for */
	enum dns_status status;
	uint32_t retry_ms;
	struct addr endpoint; /* AF_UNSPEC: none yet */
	struct dns_ask ask;
	struct timer timer;
};

struct tunnel {
	struct tunnels *tunnels;
	struct wireguard *wireguard;
	char *tag;
	size_t server; /* of DNS */
	enum domain_strategy strategy;
	struct tunnel_peer *peers;
	size_t peer_count;
};

struct tunnels {
	struct loop *loop;
	struct resolver *resolver;
	size_t count;
	struct tunnel list[];
};

#define TURNS 2
static const struct {
	unsigned count;
	enum dns_type types[TURNS];
} strategies[STRATEGY_COUNT] = {
	[STRATEGY_PREFER_IPV4] = { 2, { DNS_A, DNS_AAAA } },
	[STRATEGY_PREFER_IPV6] = { 2, { DNS_AAAA, DNS_A } },
	[STRATEGY_IPV4_ONLY] = { 1, { DNS_A } },
	[STRATEGY_IPV6_ONLY] = { 1, { DNS_AAAA } },
};

static void start_timer(struct tunnel_peer *peer, uint64_t ms)
{
	timer_start(&peer->timer, &peer->tunnel->tunnels->loop->timers, ms);
}

static void retry_later(struct tunnel_peer *peer, const char *why)
{
	log_warn("tunnels", "outbound %s: peer %s: %s; again in %u s", peer->tunnel->tag,
		 peer->name, why, peer->retry_ms / 1000);
	start_timer(peer, peer->retry_ms);
	peer->retry_ms = peer->retry_ms > RETRY_MOST_MS / 2 ? RETRY_MOST_MS : peer->retry_ms * 2;
}

/* The order of an answer changes from one to the next: who is still in it stays. */
static struct addr choose(const struct tunnel_peer *peer, const struct dns_answer *answer)
{
	struct addr addr = answer->addrs[0];

	for (unsigned i = 0; i < answer->count; i++) {
		addr = answer->addrs[i];
		addr.port = peer->port;
		if (addr_equal(&addr, &peer->endpoint))
			return addr;
	}
	addr = answer->addrs[0];
	addr.port = peer->port;
	return addr;
}

static void take_answer(struct tunnel_peer *peer, const struct dns_answer *answer)
{
	struct tunnel *tunnel = peer->tunnel;
	struct addr addr = choose(peer, answer);
	char reason[WIREGUARD_REASON_MAX], text[ADDR_STRLEN];
	uint64_t ttl_s = answer->ttl_s;

	if (!addr_equal(&addr, &peer->endpoint)) {
		if (wireguard_set_endpoint(tunnel->wireguard, peer->index, &addr, reason)) {
			retry_later(peer, reason);
			return;
		}
		peer->endpoint = addr;
		log_info("tunnels", "outbound %s: peer %s is at %s", tunnel->tag, peer->name,
			 addr_format(&addr, text));
	}
	peer->retry_ms = RETRY_FIRST_MS;
	ttl_s = ttl_s < REFRESH_S ? REFRESH_S : ttl_s > REFRESH_MOST_S ? REFRESH_MOST_S : ttl_s;
	start_timer(peer, ttl_s * 1000);
}

static void on_answer(struct dns_ask *ask, const struct dns_answer *answer);

/* Of two types, what says more than that the name has no record of one. */
static void note_failure(struct tunnel_peer *peer, enum dns_status status)
{
	if (!peer->turn || status != DNS_NO_DATA)
		peer->status = status;
}

/* From peer->turn on, until an answer has an address or one has to be waited for. */
static void ask_now(struct tunnel_peer *peer)
{
	const struct tunnel *tunnel = peer->tunnel;

	for (; peer->turn < strategies[tunnel->strategy].count; peer->turn++) {
		enum dns_type type = strategies[tunnel->strategy].types[peer->turn];
		struct dns_answer answer;
		int r = resolver_ask(tunnel->tunnels->resolver, &peer->ask, tunnel->server,
				     peer->name, type, on_answer, &answer);

		if (!r)
			return;
		if (r > 0 && answer.status == DNS_OK) {
			take_answer(peer, &answer);
			return;
		}
		if (r < 0)
			answer.status = r == -ENOMEM ? DNS_NO_MEMORY : DNS_NO_SOCKET;
		note_failure(peer, answer.status);
	}
	retry_later(peer, dns_status_names[peer->status]);
}

static void on_answer(struct dns_ask *ask, const struct dns_answer *answer)
{
	struct tunnel_peer *peer = container_of(ask, struct tunnel_peer, ask);

	if (answer->status == DNS_OK) {
		take_answer(peer, answer);
		return;
	}
	note_failure(peer, answer->status);
	peer->turn++;
	ask_now(peer);
}

static void on_timer(struct timer *timer)
{
	struct tunnel_peer *peer = container_of(timer, struct tunnel_peer, timer);

	peer->turn = 0;
	ask_now(peer);
}

static int add_name(struct tunnel *tunnel, const struct config_peer *config, size_t index)
{
	struct tunnel_peer *peer = &tunnel->peers[tunnel->peer_count];

	*peer = (struct tunnel_peer){ .tunnel = tunnel,
				      .name = strdup(config->address),
				      .index = index,
				      .port = config->port,
				      .retry_ms = RETRY_FIRST_MS };
	if (!peer->name)
		return -ENOMEM;
	timer_init(&peer->timer, on_timer);
	tunnel->peer_count++;
	return 0;
}

static int add_peers(struct tunnel *tunnel, const struct config_wireguard *config, char *reason)
{
	int r = 0;

	for (size_t i = 0; i < config->peer_count && !r; i++) {
		const struct config_peer *peer = &config->peers[i];
		struct addr addr;

		if (!peer->address)
			continue;
		if (!addr_parse(peer->address, peer->port, &addr))
			r = wireguard_set_endpoint(tunnel->wireguard, i, &addr, reason);
		else if ((r = add_name(tunnel, peer, i)))
			snprintf(reason, WIREGUARD_REASON_MAX, "%s", strerror(-r));
	}
	return r;
}

static int make(struct tunnel *tunnel, const struct config_outbound *config, char *reason)
{
	int r;

	tunnel->server = config->domain_resolver.server;
	tunnel->strategy = (enum domain_strategy)config->domain_resolver.strategy;
	tunnel->tag = strdup(config->tag);
	tunnel->peers = calloc(config->wireguard.peer_count + 1, sizeof(*tunnel->peers));
	if (!tunnel->tag || !tunnel->peers) {
		snprintf(reason, WIREGUARD_REASON_MAX, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	r = wireguard_new(&tunnel->wireguard, &config->wireguard, config->routing_mark, reason);
	if (!r)
		r = add_peers(tunnel, &config->wireguard, reason);
	if (!r)
		log_info("tunnels", "outbound %s: interface %s, by %s", tunnel->tag,
			 config->wireguard.name, wireguard_backend(tunnel->wireguard));
	return r;
}

static bool is_ours(const struct config_outbound *config)
{
	return config->type == OUTBOUND_WIREGUARD && config->wireguard.create;
}

/* When all is made: nothing that is asked for has to be taken back. */
static void start(struct tunnels *tunnels)
{
	for (size_t i = 0; i < tunnels->count; i++)
		for (size_t j = 0; j < tunnels->list[i].peer_count; j++)
			ask_now(&tunnels->list[i].peers[j]);
}

int tunnels_new(struct tunnels **ret, struct loop *loop, const struct config *config,
		struct resolver *resolver, char *reason)
{
	struct tunnels *tunnels = calloc(1, sizeof(*tunnels) + config->outbound_count *
								       sizeof(*tunnels->list));
	char why[WIREGUARD_REASON_MAX] = "";
	int r = 0;

	if (!tunnels) {
		snprintf(reason, WIREGUARD_REASON_MAX, "tunnels: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	tunnels->loop = loop;
	tunnels->resolver = resolver;
	for (size_t i = 0; i < config->outbound_count && !r; i++) {
		const struct config_outbound *outbound = &config->outbounds[i];

		if (!is_ours(outbound))
			continue;
		tunnels->list[tunnels->count].tunnels = tunnels;
		r = make(&tunnels->list[tunnels->count++], outbound, why);
		if (r)
			snprintf(reason, WIREGUARD_REASON_MAX, "outbound %.40s: %.200s",
				 outbound->tag, why);
	}
	if (r) {
		tunnels_free(tunnels);
		return r;
	}
	start(tunnels);
	*ret = tunnels;
	return 0;
}

static void release(struct tunnel *tunnel)
{
	for (size_t i = 0; i < tunnel->peer_count; i++) {
		resolver_cancel(&tunnel->peers[i].ask);
		timer_stop(&tunnel->peers[i].timer, &tunnel->tunnels->loop->timers);
		free(tunnel->peers[i].name);
	}
	wireguard_free(tunnel->wireguard);
	free(tunnel->peers);
	free(tunnel->tag);
}

void tunnels_free(struct tunnels *tunnels)
{
	if (!tunnels)
		return;
	for (size_t i = 0; i < tunnels->count; i++)
		release(&tunnels->list[i]);
	free(tunnels);
}
