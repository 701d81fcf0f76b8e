#include "daemon/tunnels.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "dns/resolver.h"
#include "kern/wireguard.h"

#define RETRY_FIRST_MS 1000U
#define RETRY_MOST_MS  60000U
#define REFRESH_S      60U    /* at the earliest */
#define WELL_MS        60000U /* what lived as long is not in a circle of deaths */
#define REFRESH_MOST_S 86400U /* whatever the TTL */

struct tunnel;

/* A peer whose endpoint has a name. */
struct tunnel_peer {
	struct tunnel *tunnel;
	const char *name;
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
	const struct config_outbound *config;
	struct wireguard *wireguard; /* NULL: its process has ended, @timer makes it again */
	struct loop_io process;
	struct timer timer;
	uint32_t remake_ms; /* to wait before the next time */
	unsigned tries;     /* since it has ended */
	uint64_t made_ms;
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

static uint32_t doubled(uint32_t ms)
{
	return ms > RETRY_MOST_MS / 2 ? RETRY_MOST_MS : ms * 2;
}

static void start_timer(struct tunnel_peer *peer, uint64_t ms)
{
	timer_start(&peer->timer, &peer->tunnel->tunnels->loop->timers, ms);
}

static void retry_later(struct tunnel_peer *peer, const char *why)
{
	log_warn("tunnels", "outbound %s: peer %s: %s; again in %u s", peer->tunnel->config->tag,
		 peer->name, why, peer->retry_ms / 1000);
	start_timer(peer, peer->retry_ms);
	peer->retry_ms = doubled(peer->retry_ms);
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
		if (tunnel->wireguard &&
		    wireguard_set_endpoint(tunnel->wireguard, peer->index, &addr, reason)) {
			retry_later(peer, reason);
			return;
		}
		peer->endpoint = addr;
		log_info("tunnels", "outbound %s: peer %s is at %s", tunnel->config->tag,
			 peer->name, addr_format(&addr, text));
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
	const struct config_domain_resolver *dns = &peer->tunnel->config->domain_resolver;

	for (; peer->turn < strategies[dns->strategy].count; peer->turn++) {
		enum dns_type type = strategies[dns->strategy].types[peer->turn];
		struct dns_answer answer;
		int r = resolver_ask(peer->tunnel->tunnels->resolver, &peer->ask, dns->server,
				     peer->name, type, &answer);

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

static void add_name(struct tunnel *tunnel, const struct config_peer *config, size_t index)
{
	struct tunnel_peer *peer = &tunnel->peers[tunnel->peer_count];

	*peer = (struct tunnel_peer){ .tunnel = tunnel,
				      .name = config->address,
				      .index = index,
				      .port = config->port,
				      .retry_ms = RETRY_FIRST_MS };
	peer->ask.done = on_answer;
	timer_init(&peer->timer, on_timer);
	tunnel->peer_count++;
}

static void add_peers(struct tunnel *tunnel)
{
	const struct config_wireguard *config = &tunnel->config->wireguard;
	struct addr addr;

	for (size_t i = 0; i < config->peer_count; i++)
		if (config->peers[i].address &&
		    addr_parse(config->peers[i].address, config->peers[i].port, &addr))
			add_name(tunnel, &config->peers[i], i);
}

static void remake_later(struct tunnel *tunnel)
{
	timer_start(&tunnel->timer, &tunnel->tunnels->loop->timers, tunnel->remake_ms);
	tunnel->remake_ms = doubled(tunnel->remake_ms);
}

static void on_process(struct loop_io *io)
{
	struct tunnel *tunnel = container_of(io, struct tunnel, process);
	const struct config_outbound *config = tunnel->config;
	char reason[WIREGUARD_REASON_MAX];

	if (!wireguard_has_ended(tunnel->wireguard, reason)) {
		loop_io_drained(io, EPOLLIN);
		return;
	}
	loop_io_deinit(io);
	wireguard_free(TAKE_PTR(tunnel->wireguard));
	if (tunnel->tunnels->loop->timers.now_ms - tunnel->made_ms >= WELL_MS)
		tunnel->remake_ms = RETRY_FIRST_MS;
	tunnel->tries = 0;
	log_warn("tunnels", "outbound %s: interface %s is gone: %s; made again in %u s",
		 config->tag, config->wireguard.name, reason, tunnel->remake_ms / 1000);
	remake_later(tunnel);
}

static void say_made(const struct tunnel *tunnel)
{
	const struct config_outbound *config = tunnel->config;

	log_info("tunnels", "outbound %s: interface %s, by %s%s", config->tag,
		 config->wireguard.name, wireguard_backend(tunnel->wireguard),
		 wireguard_is_up(tunnel->wireguard) ? "" : ", down until a peer has an address");
}

static int make_interface(struct tunnel *tunnel, char *reason)
{
	const struct config_outbound *config = tunnel->config;
	struct loop *loop = tunnel->tunnels->loop;
	int fd, r = wireguard_new(&tunnel->wireguard, &config->wireguard, config->routing_mark,
				  reason);

	if (r)
		return r;
	tunnel->made_ms = loop->timers.now_ms;
	fd = wireguard_pidfd(tunnel->wireguard);
	r = fd < 0 ? 0 : loop_io_init(&tunnel->process, loop, fd, on_process);
	if (r) {
		snprintf(reason, WIREGUARD_REASON_MAX, "epoll: %s", strerror(-r));
		wireguard_free(TAKE_PTR(tunnel->wireguard));
		return r;
	}
	if (fd >= 0)
		loop_io_want(&tunnel->process, EPOLLIN);
	return 0;
}

/* At once to where the peer was: DNS may need the tunnel. */
static void restore_endpoint(struct tunnel_peer *peer)
{
	char reason[WIREGUARD_REASON_MAX];

	resolver_cancel(&peer->ask);
	if (peer->endpoint.family != AF_UNSPEC &&
	    wireguard_set_endpoint(peer->tunnel->wireguard, peer->index, &peer->endpoint, reason))
		peer->endpoint.family = AF_UNSPEC; /* the answer tries again, and says why not */
	peer->retry_ms = RETRY_FIRST_MS;
	start_timer(peer, 0);
}

static void on_remake(struct timer *timer)
{
	struct tunnel *tunnel = container_of(timer, struct tunnel, timer);
	char reason[WIREGUARD_REASON_MAX];

	if (make_interface(tunnel, reason)) {
		log_at(tunnel->tries ? LOG_DEBUG : LOG_WARN, "tunnels",
		       "outbound %s: %s; tried until it works, at least every %u s",
		       tunnel->config->tag, reason, RETRY_MOST_MS / 1000);
		tunnel->tries++;
		remake_later(tunnel);
		return;
	}
	for (size_t i = 0; i < tunnel->peer_count; i++)
		restore_endpoint(&tunnel->peers[i]);
	say_made(tunnel);
}

static int make(struct tunnel *tunnel, char *reason)
{
	int r;

	tunnel->process = (struct loop_io)LOOP_IO_NULL;
	tunnel->remake_ms = RETRY_FIRST_MS;
	timer_init(&tunnel->timer, on_remake);
	tunnel->peers = calloc(tunnel->config->wireguard.peer_count + 1, sizeof(*tunnel->peers));
	if (!tunnel->peers) {
		snprintf(reason, WIREGUARD_REASON_MAX, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	add_peers(tunnel);
	r = make_interface(tunnel, reason);
	if (!r)
		say_made(tunnel);
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
		struct tunnel *tunnel = &tunnels->list[tunnels->count];

		if (!is_ours(outbound))
			continue;
		tunnels->count++;
		tunnel->tunnels = tunnels;
		tunnel->config = outbound;
		r = make(tunnel, why);
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
	}
	timer_stop(&tunnel->timer, &tunnel->tunnels->loop->timers);
	loop_io_deinit(&tunnel->process);
	wireguard_free(tunnel->wireguard);
	free(tunnel->peers);
}

void tunnels_free(struct tunnels *tunnels)
{
	if (!tunnels)
		return;
	for (size_t i = 0; i < tunnels->count; i++)
		release(&tunnels->list[i]);
	free(tunnels);
}
