#include "flow/udp_pair.h"
#include <errno.h>
#include "dial/packet.h"
#include "flow/label.h"
#include "flow/worker.h"
#include "kern/route.h"
#include "net/sock.h"

#define LIVES_AFTER 16U   /* datagrams: most questions and answers are over by then */
#define MISSES_MOST 4U    /* batches */
#define SETTLE_MS   500U  /* a datagram may have been on its way to a socket */
#define LOOK_MS     5000U /* not every change of a route is one of the interfaces */

static int ask_way(struct udp_session *s, struct packet_end *end, int interface, bool is_ours)
{
	const struct route_question question = { .destination = end->remote,
						 .source = is_ours ? end->local
								   : (struct addr){ 0 },
						 .mark = end->mark,
						 .interface = interface };

	struct route_answer answer;
	int r = route_ask(&s->worker->routes, &question, &answer);

	if (r)
		return r;
	end->interface = answer.interface;
	end->next_hop = answer.next_hop;
	return answer.next_hop.family == AF_UNSPEC ? -ENETUNREACH : 0;
}

static int fill_client(struct udp_session *s, struct packet_end *end)
{
	*end = (struct packet_end){ .remote = s->entry.source,
				    .local = s->destination,
				    .mark = CONFIG_MARK };
	return ask_way(s, end, 0, false);
}

static bool has_address(int fd)
{
	struct addr local;

	return !sock_local_addr(fd, &local) && !addr_is_unspecified(&local);
}

/* Asked as the socket asks: one without an address of its own has none to ask with, and IPv6 insists on its
 * interface only then. */
static int fill_upstream(struct udp_session *s, struct packet_end *end)
{
	int fd = s->way->fd, r;

	*end = (struct packet_end){ .remote = s->way->peer, .mark = sock_mark(fd) };
	r = packet_local(s->way, &end->local);
	if (r)
		return r;
	return ask_way(s, end, sock_bound_interface(fd),
		       has_address(fd) && !sock_is_transparent(fd, end->local.family));
}

static uint32_t describe_socket(const struct udp_session *s)
{
	int fd = s->way->fd;
	uint32_t flags = s->way->bound ? SEAM_UDP_CONNECTED : 0;

	if (!has_address(fd))
		flags |= SEAM_UDP_ANY;
	if (sock_is_transparent(fd, s->way->peer.family))
		flags |= SEAM_UDP_TRANSPARENT;
	if (sock_may_fragment(fd, s->way->peer.family))
		flags |= SEAM_UDP_FRAGMENT;
	return flags;
}

static struct seam_label label(const struct udp_session *s)
{
	const struct label_names names = { s->inbound, s->outbound, s->domain, s->rule };
	struct seam_label label = label_make(s->id, s->worker->loop.now_ms - s->start_ms, &names);

	label.workers = s->worker->config->workers;
	label.interface = (uint32_t)sock_bound_interface(s->way->fd);
	label.socket = describe_socket(s);
	for (int side = 0; side < SIDES; side++) {
		label.datagrams[side] = s->datagrams[side];
		label.bytes[side] = s->bytes[side];
	}
	return label;
}

static void update_label(const struct udp_session *s)
{
	const struct seam_label now = label(s);

	(void)packet_set_label(&s->pair.pair, &now);
}

/* Answers that the client is to see as another's (unmapped) are not the pair's. */
static bool may_begin(const struct udp_session *s)
{
	const struct addr *peer = &s->way->peer;

	return s->worker->relay_env.packet.packet && s->way->fd >= 0 &&
	       (!s->unmapped || addr_equal(peer, &s->destination)) &&
	       sock_netns_cookie(s->way->fd) == s->worker->netns_cookie;
}

static void begin(struct udp_session *s)
{
	struct packet *packet = s->worker->relay_env.packet.packet;
	struct packet_spec spec = { .protocol = IPPROTO_UDP, .quiet_ms = s->timeout_ms };
	int r;

	s->pair.state = UDP_PAIR_NEVER;
	if (!may_begin(s) || fill_client(s, &spec.end[CLIENT]) ||
	    fill_upstream(s, &spec.end[UPSTREAM]))
		return;
	r = packet_prepare(packet, &spec);
	if (r == -EAGAIN)
		s->pair.state = UDP_PAIR_NONE; /* the next answer */
	if (r)
		return;
	spec.label = label(s);
	s->pair.local = spec.end[UPSTREAM].local;
	if (packet_add(packet, &spec, &s->pair.pair))
		s->pair.pair = (struct packet_pair){ 0 };
	else
		s->pair.state = UDP_PAIR_HALF;
}

static void give_up(struct udp_session *s)
{
	udp_pair_end(s);
	s->pair.state = UDP_PAIR_NEVER;
}

void udp_pair_answered(struct udp_session *s)
{
	struct packet_stats stats;

	if (s->pair.state == UDP_PAIR_NONE &&
	    s->datagrams[CLIENT] + s->datagrams[UPSTREAM] >= LIVES_AFTER) {
		begin(s);
		return;
	}
	if (s->pair.state != UDP_PAIR_HALF)
		return;
	packet_stats(&s->pair.pair, &stats);
	if (!stats.packets[UPSTREAM] && ++s->pair.misses > MISSES_MOST)
		give_up(s);
}

static void begin_open(struct udp_session *s, uint32_t look_ms)
{
	struct timer_wheel *timers = &s->worker->loop.timers;

	s->pair.state = UDP_PAIR_OPEN;
	timer_stop(&s->timer, timers);
	timer_start(&s->timer, timers, look_ms); /* of idleness, which asks udp_pair_look() */
}

void udp_pair_asked(struct udp_session *s)
{
	struct packet_stats stats;

	if (s->pair.state != UDP_PAIR_HALF)
		return;
	packet_stats(&s->pair.pair, &stats);
	if (!stats.packets[UPSTREAM])
		return;
	if (packet_open(&s->pair.pair))
		give_up(s);
	else
		begin_open(s, SETTLE_MS);
}

/* What an earlier daemon has counted is none of our totals. */
void udp_pair_adopt(struct udp_session *s, const struct packet_pair *pair,
		    const struct packet_spec *spec)
{
	struct udp_stats *stats = &s->worker->udp.stats;
	struct packet_stats translated;

	s->pair.pair = *pair;
	s->pair.local = spec->end[UPSTREAM].local;
	udp_pair_stats(s, &translated);
	for (int side = 0; side < SIDES; side++) {
		stats->datagrams[side] -= translated.packets[side];
		stats->bytes[side] -= translated.bytes[side];
	}
	s->used_ms = 0; /* as tc knows it */
	(void)udp_pair_was_used(s);
	begin_open(s, 0);
}

void udp_pair_stats(const struct udp_session *s, struct packet_stats *ret)
{
	*ret = (struct packet_stats){ 0 };
	if (s->pair.pair.packet)
		packet_stats(&s->pair.pair, ret);
}

bool udp_pair_was_used(struct udp_session *s)
{
	struct packet_stats stats;
	uint64_t packets, last_ns;

	udp_pair_stats(s, &stats);
	packets = stats.packets[CLIENT] + stats.packets[UPSTREAM];
	if (packets == s->pair.packets_seen)
		return false;
	s->pair.packets_seen = packets;
	last_ns = stats.last_ns[CLIENT] > stats.last_ns[UPSTREAM] ? stats.last_ns[CLIENT]
								  : stats.last_ns[UPSTREAM];
	if (last_ns / 1000000 > s->used_ms)
		s->used_ms = last_ns / 1000000;
	return true;
}

static void begin_anew(struct udp_session *s)
{
	udp_pair_end(s);
	s->pair = (struct udp_pair){ .state = UDP_PAIR_NONE };
}

/* Without a route the way stays what it was: it may come back. If the socket sends from another address now, it
 * begins anew. */
void udp_pair_follow(struct udp_session *s)
{
	struct packet_end client, upstream;

	if (!s->pair.pair.packet)
		return;
	if (!fill_client(s, &client))
		(void)packet_set_way(&s->pair.pair, CLIENT, &client);
	if (fill_upstream(s, &upstream))
		return;
	if (addr_equal(&upstream.local, &s->pair.local)) {
		(void)packet_set_way(&s->pair.pair, UPSTREAM, &upstream);
		return;
	}
	begin_anew(s);
}

uint32_t udp_pair_look(struct udp_session *s)
{
	struct packet_stats stats;

	if (s->pair.state == UDP_PAIR_OPEN) {
		update_label(s);
		udp_pair_follow(s);
	}
	udp_pair_stats(s, &stats);
	if (stats.closing & SEAM_CLOSING_KILLED) /* the sockets alone were used meanwhile */
		begin_anew(s);
	return s->pair.state == UDP_PAIR_OPEN ? LOOK_MS : UINT32_MAX;
}

/* An open one is left as it is; on_exit says what becomes of all that is (packet_free()). */
static bool is_left(const struct udp_session *s)
{
	return s->end == END_SHUTDOWN && s->pair.state == UDP_PAIR_OPEN;
}

void udp_pair_end(struct udp_session *s)
{
	struct udp_stats *stats = &s->worker->udp.stats;
	struct packet_stats translated;

	if (!s->pair.pair.packet)
		return;
	udp_pair_stats(s, &translated);
	if (is_left(s)) {
		update_label(s);
		s->pair.pair.packet = NULL;
	} else {
		packet_remove(&s->pair.pair);
	}
	for (int side = 0; side < SIDES; side++) {
		s->translated[side] += translated.packets[side];
		s->datagrams[side] += translated.packets[side];
		s->bytes[side] += translated.bytes[side];
		stats->datagrams[side] += translated.packets[side];
		stats->bytes[side] += translated.bytes[side];
	}
}

void udp_pair_leave(struct udp_session *s)
{
	(void)udp_pair_was_used(s); /* its idle time runs from the last datagram */
	give_up(s);
	s->pair.packets_seen = 0;
}
