#include "flow/udp_pair.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "dial/packet.h"
#include "flow/worker.h"
#include "kern/route.h"
#include "net/sock.h"

#define LIVES_AFTER \
	16U /* datagrams, and some of each side: most questions and answers are over by then */
#define MISSES_MOST 4U

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

static int fill_upstream(struct udp_session *s, struct packet_end *end)
{
	int fd = s->way->fd, r;

	*end = (struct packet_end){ .remote = s->way->peer, .mark = sock_mark(fd) };
	r = packet_local(s->way, &end->local);
	if (r)
		return r;
	return ask_way(s, end, sock_bound_interface(fd),
		       !sock_is_transparent(fd, end->local.family));
}

static void label(const struct udp_session *s, struct seam_label *ret)
{
	*ret = (struct seam_label){ .id = s->id,
				    .bytes = { s->bytes[CLIENT], s->bytes[UPSTREAM] },
				    .rule = s->rule == CONFIG_NONE ? -1 : (int32_t)s->rule };
	snprintf(ret->inbound, sizeof(ret->inbound), "%s", s->inbound->tag);
	snprintf(ret->outbound, sizeof(ret->outbound), "%s", s->outbound->tag);
	snprintf(ret->host, sizeof(ret->host), "%s", s->domain ? s->domain : "");
}

/* Answers that the client is to see as another's (unmapped) are not the pair's. */
static bool may_begin(const struct udp_session *s)
{
	const struct addr *peer = &s->way->peer;

	return s->worker->relay_env.packet.packet && s->way->fd >= 0 &&
	       peer->family == s->entry.source.family &&
	       (!s->unmapped || addr_equal(peer, &s->destination)) &&
	       sock_netns_cookie(s->way->fd) == s->worker->netns_cookie;
}

static void begin(struct udp_session *s)
{
	struct packet_spec spec = { .protocol = IPPROTO_UDP };

	s->pair.state = UDP_PAIR_NEVER;
	if (!may_begin(s) || fill_client(s, &spec.end[CLIENT]) ||
	    fill_upstream(s, &spec.end[UPSTREAM]))
		return;
	label(s, &spec.label);
	if (packet_add(s->worker->relay_env.packet.packet, &spec, &s->pair.pair))
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

	if (s->pair.state == UDP_PAIR_NONE && s->datagrams[CLIENT] && s->datagrams[UPSTREAM] &&
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
		s->pair.state = UDP_PAIR_OPEN;
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
	uint64_t packets;

	udp_pair_stats(s, &stats);
	packets = stats.packets[CLIENT] + stats.packets[UPSTREAM];
	if (packets == s->pair.packets_seen)
		return false;
	s->pair.packets_seen = packets;
	if (stats.last_ns[CLIENT] > stats.last_ns[UPSTREAM])
		s->used_ms = stats.last_ns[CLIENT] / 1000000;
	else
		s->used_ms = stats.last_ns[UPSTREAM] / 1000000;
	return true;
}

/* Without a route the way stays what it was: it may come back. */
void udp_pair_follow(struct udp_session *s)
{
	struct packet_end end;

	if (!s->pair.pair.packet)
		return;
	if (!fill_client(s, &end))
		(void)packet_set_way(&s->pair.pair, CLIENT, &end);
	if (!fill_upstream(s, &end))
		(void)packet_set_way(&s->pair.pair, UPSTREAM, &end);
}

void udp_pair_end(struct udp_session *s)
{
	struct udp_stats *stats = &s->worker->udp.stats;
	struct packet_stats translated;

	if (!s->pair.pair.packet)
		return;
	udp_pair_stats(s, &translated);
	packet_remove(&s->pair.pair);
	for (int side = 0; side < SIDES; side++) {
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
