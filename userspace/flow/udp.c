#include "flow/udp.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/names.h"
#include "dial/packet.h"
#include "flow/udp_listener.h"
#include "flow/worker.h"

#define SPARED_MOST       8    /* sessions that turn out to be used, when room is to be made */
#define UNREACHABLES_MOST 1000 /* a second; as net.ipv4.icmp_msgs_per_sec */

NAME_TABLE(udp_drop_names, UDP_DROP_COUNT, "address", "truncated", "held", "refused", "send",
	   "foreign", "stopping", "memory");

void udp_dropped(struct udp_session *s, enum udp_drop why, unsigned count)
{
	s->dropped += count;
	s->worker->udp.stats.dropped[why] += count;
}

static void drop(struct worker *w, enum udp_drop why, const struct datagram *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		w->udp.stats.dropped[why] += datagram_count(&list[i]);
}

/* What tc translates is used without the table's knowledge. */
static void make_room(struct udp *udp, const struct addr *source)
{
	unsigned spared = 0;
	struct udp_entry *entry;

	while ((entry = udp_table_victim(&udp->table, source)) != NULL) {
		struct udp_session *s = container_of(entry, struct udp_session, entry);

		if (spared < SPARED_MOST && udp_pair_was_used(s)) {
			udp_table_use(&udp->table, entry, true);
			spared++;
		} else {
			udp_session_end(s, END_EVICTED);
		}
	}
}

/* Of one client to one destination. */
static void take_run(struct worker *w, const struct inbound *inbound, const struct datagram *list,
		     unsigned count)
{
	struct udp_entry *entry = udp_table_find(&w->udp.table, &list->source, &list->destination);
	struct udp_session *s;

	if (entry) {
		udp_session_take(container_of(entry, struct udp_session, entry), list, count);
		return;
	}
	if (w->draining) {
		drop(w, UDP_DROP_STOPPING, list, count);
		return;
	}
	if (!list->source.port || listener_refuses(w, &list->source, &list->destination)) {
		drop(w, UDP_DROP_ADDRESS, list, count);
		return;
	}
	make_room(&w->udp, &list->source);
	s = udp_session_new(w, inbound, list);
	if (s)
		udp_session_take(s, list, count);
	else
		drop(w, UDP_DROP_MEMORY, list, count);
}

static bool is_same(const struct datagram *a, const struct datagram *b)
{
	return addr_equal(&a->source, &b->source) && addr_equal(&a->destination, &b->destination);
}

void udp_take(struct worker *w, const struct inbound *inbound, const struct datagram *list,
	      unsigned count)
{
	unsigned run;

	for (unsigned i = 0; i < count; i += run) {
		run = 1;
		if (list[i].truncated) {
			drop(w, UDP_DROP_TRUNCATED, &list[i], 1);
			continue;
		}
		while (i + run < count && is_same(&list[i], &list[i + run]) &&
		       !list[i + run].truncated)
			run++;
		take_run(w, inbound, list + i, run);
	}
}

void udp_answer(struct udp_session *s, const struct addr *from, const struct datagram *list,
		unsigned count)
{
	struct udp *udp = &s->worker->udp;
	struct datagram_sent sent;
	unsigned pieces = 0;

	for (unsigned i = 0; i < count; i++) {
		pieces += datagram_count(&list[i]);
		s->bytes[UPSTREAM] += list[i].len;
		udp->stats.bytes[UPSTREAM] += list[i].len;
	}
	s->datagrams[UPSTREAM] += pieces;
	udp->stats.datagrams[UPSTREAM] += pieces;
	if (from->family != s->entry.source.family) {
		udp_dropped(s, UDP_DROP_FOREIGN, pieces);
		return;
	}
	udp_reply_send(&udp->replies, from, &s->entry.source, list, count, &sent);
	if (sent.failed)
		udp_dropped(s, UDP_DROP_SEND, sent.failed);
}

void udp_tell_unreachable(struct worker *w, const struct addr *source,
			  const struct addr *destination, const uint8_t *data, size_t len)
{
	struct udp *udp = &w->udp;
	uint64_t second = w->loop.now_ms / 1000;

	if (second != udp->icmp_second) {
		udp->icmp_second = second;
		udp->icmp_left = UNREACHABLES_MOST;
	}
	if (!udp->icmp_left)
		return;
	udp->icmp_left--;
	if (!icmp_port_unreachable(&udp->icmp, source, destination, data, len))
		udp->stats.unreachables++;
}

static int listen_all(struct worker *w, char *reason)
{
	const struct flow_config *config = w->config;
	struct udp *udp = &w->udp;

	udp->listeners = calloc(config->inbound_count, sizeof(*udp->listeners));
	if (!udp->listeners)
		return -ENOMEM;
	for (size_t i = 0; i < config->inbound_count; i++) {
		int r;

		if (!(config->inbounds[i].network & CONFIG_NETWORK_UDP))
			continue;
		r = udp_listener_init(&udp->listeners[udp->listener_count], w, &config->inbounds[i],
				      reason);
		if (r)
			return r;
		udp->listener_count++;
	}
	return 0;
}

static uint32_t share(uint32_t all, uint32_t workers)
{
	return (all + workers - 1) / workers;
}

int udp_init(struct worker *w, char *reason)
{
	const struct flow_config *config = w->config;
	struct udp *udp = &w->udp;
	int r;

	list_init(&udp->sessions);
	udp->icmp = (struct icmp){ -1, -1 };
	mem_pool_init(&udp->pool, sizeof(struct udp_session));
	if (!config->max_udp_sessions)
		return 0;
	udp->replies = (struct udp_replies){
		.capacity = share(config->udp_replies, config->workers),
		.mark = CONFIG_MARK,
	};
	snprintf(reason, 256, "worker %u: out of memory", w->index);
	r = datagram_batch_new(&udp->batch);
	if (!r)
		r = udp_replies_init(&udp->replies);
	if (!r)
		r = udp_table_init(&udp->table, share(config->max_udp_sessions, config->workers),
				   share(config->max_udp_sessions_per_source, config->workers));
	if (r)
		return r;
	snprintf(reason, 256, "socket(SOCK_RAW) for ICMP: it takes CAP_NET_RAW");
	r = icmp_open(&udp->icmp, CONFIG_MARK);
	return r ? r : listen_all(w, reason);
}

void udp_deinit(struct worker *w)
{
	struct udp *udp = &w->udp;

	udp_kill_all(w, END_SHUTDOWN);
	for (size_t i = 0; i < udp->listener_count; i++)
		udp_listener_deinit(&udp->listeners[i]);
	free(udp->listeners);
	if (udp->batch) {
		udp_replies_deinit(&udp->replies);
		udp_table_deinit(&udp->table);
		icmp_close(&udp->icmp);
	}
	datagram_batch_free(udp->batch);
	mem_pool_deinit(&udp->pool);
}

void udp_stats(const struct worker *w, struct udp_stats *ret)
{
	*ret = w->udp.stats;
	ret->active = w->udp.pool.used;
	ret->replies = w->udp.replies.stats;
	list_for_each (link, &w->udp.sessions) {
		const struct udp_session *s = container_of(link, struct udp_session, link);
		struct packet_stats translated;

		udp_pair_stats(s, &translated);
		for (int side = 0; side < SIDES; side++) {
			ret->datagrams[side] += translated.packets[side];
			ret->bytes[side] += translated.bytes[side];
		}
	}
}

void udp_kill_all(struct worker *w, enum flow_end why)
{
	while (w->udp.sessions.next && !list_empty(&w->udp.sessions))
		udp_session_end(container_of(w->udp.sessions.next, struct udp_session, link), why);
}

int udp_kill(struct worker *w, uint64_t id)
{
	list_for_each (link, &w->udp.sessions) {
		struct udp_session *s = container_of(link, struct udp_session, link);

		if (s->id != id)
			continue;
		udp_session_end(s, END_KILLED);
		return 0;
	}
	return -ENOENT;
}

void udp_check_interfaces(struct worker *w, const struct netif_list *interfaces)
{
	list_for_each_safe (link, &w->udp.sessions) {
		struct udp_session *s = container_of(link, struct udp_session, link);
		enum flow_end lost = udp_lost_ground(s, interfaces);

		if (lost)
			udp_session_end(s, lost);
		else
			udp_pair_follow(s);
	}
}

void udp_leave_packet(struct worker *w)
{
	list_for_each (link, &w->udp.sessions)
		udp_pair_leave(container_of(link, struct udp_session, link));
}

static void describe(struct udp_session *s, struct udp_info *ret)
{
	uint64_t now = s->worker->loop.now_ms;
	struct packet_stats translated;

	(void)udp_pair_was_used(s);
	*ret = (struct udp_info){ .id = s->id,
				  .age_ms = now - s->start_ms,
				  .idle_ms = now > s->used_ms ? now - s->used_ms : 0,
				  .timeout_ms = s->timeout_ms,
				  .state = s->state,
				  .inbound = s->inbound->tag,
				  .outbound = s->outbound ? s->outbound->tag : "",
				  .method = s->way ? s->way->ops->name : "",
				  .source = s->entry.source,
				  .destination = s->destination,
				  .bound = s->entry.destination.family != AF_UNSPEC,
				  .replied = s->entry.replied,
				  .adopted = s->adopted,
				  .protocol = s->protocol,
				  .rule = s->rule,
				  .dropped = s->dropped };
	udp_pair_stats(s, &translated);
	for (int side = 0; side < SIDES; side++) {
		ret->datagrams[side] = s->datagrams[side] + translated.packets[side];
		ret->bytes[side] = s->bytes[side] + translated.bytes[side];
		ret->translated[side] = s->translated[side] + translated.packets[side];
	}
	if (s->pair.state == UDP_PAIR_OPEN)
		ret->method = relay_method_names[RELAY_PACKET];
	if (s->domain)
		snprintf(ret->domain, sizeof(ret->domain), "%s", s->domain);
}

size_t udp_describe(const struct worker *w, struct udp_info *ret, size_t count)
{
	size_t n = 0;

	list_for_each (link, &w->udp.sessions) {
		if (n == count)
			break;
		describe(container_of(link, struct udp_session, link), &ret[n++]);
	}
	return n;
}
