/* The beginning: may this relay be taken, and by which ways do its packets go? */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "net/sock.h"
#include "relay/taker.h"

#define ENTER_BYTES \
	12288U /* less than a first window of ten segments: a gap follows, which is quiet */

/* It lives, or it is no mere exchange of messages, for which to enter would cost as much as to relay them. */
static bool is_worth_it(const struct relay *relay)
{
	return relay->reads >= relay->env->enter_after ||
	       relay->pump[CLIENT].bytes + relay->pump[UPSTREAM].bytes >= ENTER_BYTES;
}

bool relay_packet_wants(const struct relay *relay)
{
	const struct relay_env *env = relay->env;

	return env->packet.packet && !relay->taker && !relay->untaken && !relay->pair.packet &&
	       !relay->gate && (env->method == RELAY_AUTO || env->method == RELAY_PACKET) &&
	       is_worth_it(relay) && relay_is_empty_handed(relay) && !taker_has_ended(relay);
}

/* As the socket's own packets go. The route is asked for without its source where that is not ours. A pair
 * whose next hop is not told keeps its sockets, which know it. */
static int find_way(struct route_socket *routes, int fd, struct packet_end *ret)
{
	struct route_question question;
	struct route_answer answer;
	int r = sock_peer_addr(fd, &ret->remote);

	if (!r)
		r = sock_local_addr(fd, &ret->local);
	if (r)
		return r;
	ret->mark = sock_mark(fd);
	question = (struct route_question){ .destination = ret->remote,
					    .mark = ret->mark,
					    .interface = sock_bound_interface(fd) };
	if (!sock_is_transparent(fd, ret->local.family))
		question.source = ret->local;
	question.source.port = 0;
	r = route_ask(routes, &question, &answer);
	if (r)
		return r;
	ret->interface = answer.interface;
	ret->next_hop = answer.next_hop;
	return answer.next_hop.family == AF_UNSPEC ? -ENETUNREACH : 0;
}

/* Without a route the way stays what it was: it may come back, as for any socket. */
void relay_packet_follow(struct relay *relay)
{
	for (int side = 0; side < SIDES && relay->pair.packet; side++) {
		struct packet_end end;

		if (!find_way(relay->env->packet.routes, relay->pump[side].from->fd, &end))
			(void)packet_set_way(&relay->pair, side, &end);
	}
}

static enum relay_untaken why_not_added(int err)
{
	switch (err) {
	case -ENOSPC:
		return UNTAKEN_PAIRS;
	case -EEXIST:
		return UNTAKEN_TUPLE;
	case -EAFNOSUPPORT:
		return UNTAKEN_FAMILY;
	case -EOPNOTSUPP:
		return UNTAKEN_INTERFACE;
	case -ENOMEM:
		return UNTAKEN_MEMORY;
	default:
		return UNTAKEN_SOCKETS;
	}
}

static enum relay_untaken add(struct relay *relay)
{
	struct packet_env *env = &relay->env->packet;
	struct packet_spec spec = { .protocol = IPPROTO_TCP };
	const int fd[SIDES] = { relay->pump[CLIENT].from->fd, relay->pump[UPSTREAM].from->fd };
	int r;

	if (sock_is_mptcp(fd[CLIENT]) || sock_is_mptcp(fd[UPSTREAM]))
		return UNTAKEN_MPTCP;
	if (sock_netns_cookie(fd[CLIENT]) != sock_netns_cookie(fd[UPSTREAM]))
		return UNTAKEN_NETNS;
	for (int side = 0; side < SIDES; side++)
		if (find_way(env->routes, fd[side], &spec.end[side]))
			return UNTAKEN_ROUTE;
	env->describe(relay, &spec.label);
	r = packet_add(env->packet, &spec, &relay->pair);
	if (r)
		memset(&relay->pair, 0, sizeof(relay->pair));
	return r ? why_not_added(r) : UNTAKEN_NOT;
}

static void on_timer(struct timer *timer)
{
	struct taker *t = container_of(timer, struct taker, timer);

	t->due = true;
	t->relay->env->wake(t->relay);
}

void relay_packet_enter(struct relay *relay)
{
	const struct packet_env *env = &relay->env->packet;
	uint64_t bytes = relay->pump[CLIENT].bytes + relay->pump[UPSTREAM].bytes;
	struct taker *t = calloc(1, sizeof(*t));

	enum relay_untaken why = t ? add(relay) : UNTAKEN_MEMORY;

	if (why) {
		taker_refuse(relay, why);
		free(t);
		return;
	}
	*t = (struct taker){ .relay = relay,
			     .pause_ms = TAKER_PAUSE_LEAST,
			     .entered_bytes = bytes,
			     .stall_step = env->stall_after,
			     .stall_at = env->stall_after ? bytes + env->stall_after : UINT64_MAX };
	timer_init(&t->timer, on_timer);
	relay->taker = t;
	taker_start_timer(t, t->pause_ms);
}
