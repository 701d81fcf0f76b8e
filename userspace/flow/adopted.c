#include "flow/adopted.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "flow/label.h"
#include "flow/udp_adopt.h"
#include "flow/worker.h"

struct adopted {
	struct list link; /* worker->adopted */
	struct worker *worker;
	struct packet_pair pair;
	struct packet_spec spec;
	struct park park;
	struct timer timer;
	uint64_t age_ms, since_ms; /* it was so old then */
	uint64_t base[SIDES];      /* bytes that an earlier daemon has counted */
	int stand_in;              /* -1: none */
};

/* Rules are another list by now: the index would name a wrong one. */
static void describe(const struct adopted *a, enum flow_end end, struct flow_info *ret)
{
	const struct flow_config *config = a->worker->config;
	const struct inbound *inbound = label_inbound(config, &a->spec.label);
	const struct outbound *outbound = label_outbound(config, &a->spec.label);
	struct packet_stats stats;

	packet_stats(&a->pair, &stats);
	*ret = (struct flow_info){ .id = a->spec.label.id,
				   .age_ms = a->age_ms + a->worker->loop.now_ms - a->since_ms,
				   .state = FLOW_PARKED,
				   .end = end,
				   .inbound = inbound ? inbound->tag : "",
				   .outbound = outbound ? outbound->tag : "",
				   .source = a->spec.end[CLIENT].remote,
				   .destination = a->spec.end[CLIENT].local,
				   .rule = CONFIG_NONE,
				   .method = relay_method_names[RELAY_PACKET],
				   .refused = "",
				   .packet = "",
				   .adopted = true };
	for (int side = 0; side < SIDES; side++) {
		ret->side[side].gate = "";
		ret->side[side].kernel_bytes = stats.bytes[side];
		ret->side[side].bytes = stats.bytes[side] + a->spec.label.bytes[side];
	}
	snprintf(ret->domain, sizeof(ret->domain), "%s", a->spec.label.host);
}

static void tell_end(const struct adopted *a, const struct flow_info *info)
{
	char source[ADDR_STRLEN], destination[ADDR_STRLEN];

	if (log_enabled(flow_end_level(info->end)))
		log_write(flow_end_level(info->end), "flow",
			  "#%llu %s -> %s %s: %s, adopted, up %llu down %llu bytes",
			  (unsigned long long)info->id, addr_format(&info->source, source),
			  addr_format(&info->destination, destination), a->spec.label.outbound,
			  flow_end_names[info->end], (unsigned long long)info->side[CLIENT].bytes,
			  (unsigned long long)info->side[UPSTREAM].bytes);
}

static void end(struct adopted *a, enum flow_end why)
{
	struct worker *w = a->worker;
	bool kept = why == END_DETACHED ||
		    (why == END_SHUTDOWN && w->config->relay.on_exit == EXIT_KEEP);
	struct flow_info info;

	describe(a, why, &info);
	tell_end(a, &info);
	w->stats.ended[why]++;
	for (int side = 0; side < SIDES; side++) {
		w->stats.bytes[side] += info.side[side].kernel_bytes - a->base[side];
		w->stats.kernel_bytes[side] += info.side[side].kernel_bytes - a->base[side];
	}
	if (w->watch)
		w->watch(w->watch_ctx, &info);
	park_release(&a->pair, why, kept);
	if (a->stand_in >= 0)
		close(a->stand_in);
	timer_stop(&a->timer, &w->loop.timers);
	list_unlink(&a->link);
	w->adopted_count--;
	free(a);
}

/* Which interface its socket was bound to is not known: as long as that is there it is kept, and only the
 * gateway is asked for. */
static void follow(const struct adopted *a, const struct netif_list *interfaces)
{
	for (int side = 0; side < SIDES; side++) {
		struct packet_end e = a->spec.end[side];
		const struct netif *now = netif_by_index(interfaces,
							 (int)a->pair.shared->side[side].ifindex);
		struct route_question question = { .destination = e.remote, .mark = e.mark };
		struct route_answer answer;

		if (now && now->up)
			question.interface = now->index;
		if (route_ask(&a->worker->routes, &question, &answer) || !answer.next_hop.family)
			continue;
		e.interface = answer.interface;
		e.next_hop = answer.next_hop;
		(void)packet_set_way(&a->pair, side, &e);
	}
}

static void on_timer(struct timer *timer)
{
	struct adopted *a = container_of(timer, struct adopted, timer);
	struct worker *w = a->worker;
	uint32_t delay;
	enum flow_end why = park_judge(&a->pair, &a->park, &w->config->relay, w->loop.now_ms,
				       &delay);

	if (why) {
		end(a, why);
		return;
	}
	if (w->dial_env.interfaces && park_wants_way(&a->park, w->loop.now_ms))
		follow(a, w->dial_env.interfaces);
	timer_start(&a->timer, &w->loop.timers, delay);
}

static void adopt(struct worker *w, const struct packet_pair *pair, const struct packet_spec *spec)
{
	struct adopted *a = calloc(1, sizeof(*a));
	struct packet_stats stats;

	if (!a)
		return; /* it goes on, and the next daemon may have the memory */
	packet_stats(pair, &stats);
	*a = (struct adopted){ .worker = w,
			       .pair = *pair,
			       .spec = *spec,
			       .park.since_ms = w->loop.now_ms,
			       .age_ms = label_age_ms(&spec->label),
			       .since_ms = w->loop.now_ms,
			       .base = { stats.bytes[CLIENT], stats.bytes[UPSTREAM] } };
	a->stand_in = sock_stand_in(&spec->end[UPSTREAM].local, &spec->end[UPSTREAM].remote, -1);
	timer_init(&a->timer, on_timer);
	timer_start(&a->timer, &w->loop.timers, 0);
	list_init(&a->link);
	list_append(&w->adopted, &a->link);
	w->adopted_count++;
}

static bool is_kept(struct worker *workers, struct packet_pair *pair,
		    const struct packet_spec *spec)
{
	if (spec->protocol == IPPROTO_UDP)
		return udp_adopt(workers, pair, spec);
	if (packet_disarm(pair) != SEAM_PACKET_TAKEN)
		return false;
	adopt(&workers[0], pair, spec);
	return true;
}

uint64_t adopt_all(struct worker *workers, struct packet *packet)
{
	struct packet_pair pair;
	struct packet_spec spec;
	uint64_t highest = 0;

	for (uint32_t i = 0; !packet_next(packet, i, &pair, &spec); i = pair.index + 1) {
		uint32_t index = pair.index;

		if (spec.label.id > highest)
			highest = spec.label.id;
		if (!is_kept(workers, &pair, &spec))
			packet_remove(&pair);
		pair.index = index;
	}
	return highest;
}

void adopted_end_all(struct worker *w, enum flow_end why)
{
	list_for_each_safe (link, &w->adopted)
		end(container_of(link, struct adopted, link), why);
}

int adopted_kill(struct worker *w, uint64_t id)
{
	list_for_each (link, &w->adopted) {
		struct adopted *a = container_of(link, struct adopted, link);

		if (a->spec.label.id != id)
			continue;
		end(a, END_KILLED);
		return 0;
	}
	return -ENOENT;
}

void adopted_check_interfaces(struct worker *w, const struct netif_list *interfaces)
{
	list_for_each_safe (link, &w->adopted) {
		struct adopted *a = container_of(link, struct adopted, link);
		struct addr local = a->spec.end[UPSTREAM].local;
		struct addr client = a->spec.end[CLIENT].remote;

		local.port = client.port = 0;
		if (!addr_equal(&local, &client) && !netif_has_address(interfaces, &local))
			end(a, END_ADDRESS_GONE);
		else
			follow(a, interfaces);
	}
}

size_t adopted_describe(const struct worker *w, struct flow_info *ret, size_t count)
{
	size_t n = 0;

	list_for_each (link, &w->adopted) {
		if (n == count)
			break;
		describe(container_of(link, struct adopted, link), END_NONE, &ret[n++]);
	}
	return n;
}

void adopted_bytes(const struct worker *w, uint64_t ret[SIDES])
{
	ret[CLIENT] = ret[UPSTREAM] = 0;
	list_for_each (link, &w->adopted) {
		const struct adopted *a = container_of(link, struct adopted, link);
		struct packet_stats stats;

		packet_stats(&a->pair, &stats);
		for (int side = 0; side < SIDES; side++)
			ret[side] += stats.bytes[side] - a->base[side];
	}
}
