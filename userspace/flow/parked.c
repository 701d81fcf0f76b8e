#include "flow/parked.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "flow/ageing.h"
#include "flow/label.h"
#include "flow/udp_adopt.h"
#include "flow/worker.h"

#define LOOK_FIRST_MS 500U

struct parked {
	struct list link; /* worker->parked */
	struct worker *worker;
	struct packet_pair pair;
	struct timer timer;
	struct ageing ageing;
	uint64_t id, start_ms;
	const char *inbound, *outbound; /* "": not in the configuration any more */
	char *domain;                   /* owned; NULL: none */
	struct trace trace;
	uint64_t moved[SIDES]; /* bytes, before it was taken */
	uint64_t base[SIDES];  /* since, but counted by an earlier daemon */
	size_t rule;
	enum protocol protocol;
	int interface[SIDES]; /* its sockets were bound to: 0 none, -1 not known */
	bool ours[SIDES];     /* their own addresses are this host's */
	bool adopted;
	int stand_in; /* -1: none */
	int client;   /* until the first look; -1: gone */
};

void parked_init(struct worker *w)
{
	list_init(&w->parked);
	mem_pool_init(&w->parked_pool, sizeof(struct parked));
}

static void describe(const struct parked *p, enum flow_end end, struct flow_info *ret)
{
	struct packet_end client = packet_end_of(&p->pair, CLIENT);
	struct packet_stats stats;

	packet_stats(&p->pair, &stats);
	*ret = (struct flow_info){ .id = p->id,
				   .age_ms = p->worker->loop.now_ms - p->start_ms,
				   .taken_ms = (int64_t)(stats.taken_ns / 1000000 - p->start_ms),
				   .state = packet_ended(&p->pair) ? FLOW_CLOSE : FLOW_PARKED,
				   .end = end,
				   .inbound = p->inbound,
				   .outbound = p->outbound,
				   .source = client.remote,
				   .destination = client.local,
				   .protocol = p->protocol,
				   .rule = p->rule,
				   .method = relay_method_names[RELAY_PACKET],
				   .refused = "",
				   .packet = "",
				   .adopted = p->adopted };
	for (int side = 0; side < SIDES; side++) {
		ret->side[side].gate = "";
		ret->side[side].kernel_bytes = stats.bytes[side];
		ret->side[side].bytes = stats.bytes[side] + p->moved[side];
	}
	snprintf(ret->domain, sizeof(ret->domain), "%s", p->domain ? p->domain : "");
	flow_info_set_attempts(ret, &p->trace);
}

static void tell_end(const struct flow_info *info)
{
	char source[ADDR_STRLEN], destination[ADDR_STRLEN];

	if (log_enabled(flow_end_level(info->end)))
		log_write(flow_end_level(info->end), "flow",
			  "#%llu %s -> %s %s: %s, %s, up %llu down %llu bytes",
			  (unsigned long long)info->id, addr_format(&info->source, source),
			  addr_format(&info->destination, destination), info->outbound,
			  flow_end_names[info->end], info->adopted ? "adopted" : info->method,
			  (unsigned long long)info->side[CLIENT].bytes,
			  (unsigned long long)info->side[UPSTREAM].bytes);
}

/* Not before: packets that were on some CPU when the pair was taken would be answered by RST. */
static void close_client(struct parked *p)
{
	if (p->client >= 0)
		close(p->client);
	p->client = -1;
}

static void put_back(struct parked *p)
{
	struct worker *w = p->worker;

	close_client(p);
	if (p->stand_in >= 0)
		close(p->stand_in);
	timer_stop(&p->timer, &w->loop.timers);
	list_unlink(&p->link);
	w->parked_count--;
	w->adopted_count -= p->adopted;
	trace_deinit(&p->trace);
	free(p->domain);
	mem_pool_put(&w->parked_pool, p);
	worker_flow_gone(w);
}

static void end(struct parked *p, enum flow_end why)
{
	struct worker *w = p->worker;
	struct flow_info info;

	describe(p, why, &info);
	tell_end(&info);
	w->stats.ended[why]++;
	for (int side = 0; side < SIDES; side++) {
		w->stats.bytes[side] += info.side[side].kernel_bytes - p->base[side];
		w->stats.kernel_bytes[side] += info.side[side].kernel_bytes - p->base[side];
	}
	if (w->watch)
		w->watch(w->watch_ctx, &info);
	flow_info_deinit(&info);
	parked_release(w, &p->pair, why);
	put_back(p);
}

static bool goes_on(const struct worker *w, enum flow_end why)
{
	return why == END_DETACHED ||
	       (why == END_SHUTDOWN && w->config->relay.on_exit == EXIT_KEEP);
}

void parked_release(const struct worker *w, struct packet_pair *pair, enum flow_end why)
{
	if (goes_on(w, why))
		memset(pair, 0, sizeof(*pair));
	else if (why == END_DONE || why == END_RESET)
		packet_remove(pair);
	else
		(void)packet_kill(pair);
}

/* What is asked is what its socket would ask. Which interface an adopted one's client was accepted on is not known:
 * as long as the present one is there it is kept, and only the gateway is asked for. Without a route the way stays
 * what it was: it may come back, as for any socket. */
static void follow(const struct parked *p)
{
	for (int side = 0; side < SIDES; side++) {
		struct packet_end way = packet_end_of(&p->pair, side);
		struct route_question question = { .destination = way.remote,
						   .mark = way.mark,
						   .interface = p->interface[side] };
		struct route_answer answer;

		if (p->interface[side] < 0) {
			const struct netif *now = netif_by_index(p->worker->dial_env.interfaces,
								 way.interface);

			question.interface = now && now->up ? way.interface : 0;
		}
		if (p->ours[side])
			question.source = way.local;
		question.source.port = 0;
		if (route_ask(&p->worker->routes, &question, &answer) || !answer.next_hop.family)
			continue;
		way.interface = answer.interface;
		way.next_hop = answer.next_hop;
		(void)packet_set_way(&p->pair, side, &way);
	}
}

static void on_timer(struct timer *timer)
{
	struct parked *p = container_of(timer, struct parked, timer);
	struct worker *w = p->worker;
	uint32_t delay;
	enum flow_end why;

	close_client(p);
	why = ageing_judge(&p->ageing, &p->pair, &w->config->relay, w->loop.now_ms, &delay);

	if (why) {
		end(p, why);
		return;
	}
	if (w->dial_env.interfaces && ageing_wants_way(&p->ageing, w->loop.now_ms))
		follow(p);
	timer_start(&p->timer, &w->loop.timers, delay);
}

static struct parked *park(struct worker *w, const struct packet_pair *pair, uint32_t look_ms)
{
	struct parked *p = mem_pool_get(&w->parked_pool);

	if (!p)
		return NULL;
	p->worker = w;
	p->pair = *pair;
	p->stand_in = p->client = -1;
	p->ageing.since_ms = w->loop.now_ms;
	timer_init(&p->timer, on_timer);
	timer_start(&p->timer, &w->loop.timers, look_ms);
	list_init(&p->link);
	list_append(&w->parked, &p->link);
	w->parked_count++;
	return p;
}

/* What user space has moved is accounted for here: the flow does not end. */
static void take_facts(struct parked *p, struct tcp_flow *f)
{
	p->id = f->id;
	p->start_ms = f->start_ms;
	p->inbound = f->inbound->tag;
	p->outbound = f->outbound->tag;
	p->domain = f->domain;
	f->domain = NULL;
	p->trace = f->trace;
	f->trace = (struct trace){ .list = NULL };
	p->rule = f->rule;
	p->protocol = f->protocol;
	p->ageing.way_ms = p->ageing.since_ms;
	for (int side = 0; side < SIDES; side++) {
		p->moved[side] = f->relay.pump[side].bytes;
		p->worker->stats.bytes[side] += p->moved[side];
	}
}

static void take_sockets(struct parked *p, struct tcp_flow *f)
{
	struct packet_end upstream = packet_end_of(&p->pair, UPSTREAM);

	for (int side = 0; side < SIDES; side++) {
		p->interface[side] = sock_bound_interface(f->side[side].fd);
		p->ours[side] = !sock_is_transparent(f->side[side].fd, upstream.local.family);
		stream_detach(&f->side[side]);
	}
	p->client = f->side[CLIENT].fd;
	p->stand_in = sock_stand_in(&upstream.local, &upstream.remote, upstream.mark,
				    f->side[UPSTREAM].fd);
	f->side[CLIENT].fd = f->side[UPSTREAM].fd = -1;
}

int parked_begin(struct tcp_flow *f)
{
	struct worker *w = f->worker;
	struct parked *p = park(w, &f->relay.pair, LOOK_FIRST_MS);

	if (!p)
		return -ENOMEM;
	f->relay.pair = (struct packet_pair){ .packet = NULL };
	take_facts(p, f);
	take_sockets(p, f);
	if (w->draining && w->config->relay.on_exit == EXIT_KEEP)
		end(p, END_DETACHED);
	return 0;
}

/* Without memory it goes on, and the next daemon may have the memory. Rules are another list by now: the index
 * would name a wrong one. */
static void adopt(struct worker *w, const struct packet_pair *pair, const struct packet_spec *spec)
{
	const struct seam_label *label = &spec->label;
	const struct inbound *inbound = label_inbound(w->config, label);
	const struct outbound *outbound = label_outbound(w->config, label);
	const struct packet_end *upstream = &spec->end[UPSTREAM];
	struct parked *p = park(w, pair, 0);
	struct packet_stats stats;
	struct addr client = spec->end[CLIENT].remote;

	if (!p)
		return;
	packet_stats(pair, &stats);
	p->adopted = true;
	w->adopted_count++;
	p->id = label->id;
	p->start_ms = w->loop.now_ms - label_age_ms(label);
	p->inbound = inbound ? inbound->tag : "";
	p->outbound = outbound ? outbound->tag : "";
	p->domain = *label->host ? strdup(label->host) : NULL;
	p->rule = CONFIG_NONE;
	client.port = upstream->local.port;
	p->ours[UPSTREAM] = !addr_equal(&upstream->local, &client);
	p->interface[CLIENT] = -1;
	p->interface[UPSTREAM] = (int)label->interface;
	for (int side = 0; side < SIDES; side++) {
		p->moved[side] = label->bytes[side];
		p->base[side] = stats.bytes[side];
	}
	p->stand_in = sock_stand_in(&upstream->local, &upstream->remote, upstream->mark, -1);
}

static bool is_kept(struct worker *workers, unsigned count, struct packet_pair *pair,
		    const struct packet_spec *spec)
{
	if (spec->protocol == IPPROTO_UDP)
		return udp_adopt(workers, pair, spec);
	if (packet_disarm(pair) != SEAM_PACKET_TAKEN)
		return false;
	adopt(&workers[pair->index % count], pair, spec);
	return true;
}

uint64_t parked_adopt(struct worker *workers, unsigned count, struct packet *packet)
{
	struct packet_pair pair;
	struct packet_spec spec;
	uint64_t highest = 0;

	for (uint32_t i = 0; !packet_next(packet, i, &pair, &spec); i++) {
		i = pair.index;
		if (spec.label.id > highest)
			highest = spec.label.id;
		if (!is_kept(workers, count, &pair, &spec))
			packet_remove(&pair);
	}
	return highest;
}

void parked_end_all(struct worker *w, enum flow_end why)
{
	list_for_each_safe (link, &w->parked)
		end(container_of(link, struct parked, link), why);
}

int parked_kill(struct worker *w, uint64_t id)
{
	list_for_each (link, &w->parked) {
		struct parked *p = container_of(link, struct parked, link);

		if (p->id != id)
			continue;
		end(p, END_KILLED);
		return 0;
	}
	return -ENOENT;
}

static enum flow_end lost_ground(const struct parked *p, const struct netif_list *interfaces)
{
	int interface = p->interface[UPSTREAM];
	const struct netif *bound = netif_by_index(interfaces, interface);
	struct addr local = packet_end_of(&p->pair, UPSTREAM).local;

	if (interface > 0 && !(bound && bound->up))
		return END_INTERFACE_GONE;
	local.port = 0;
	return !p->ours[UPSTREAM] || netif_has_address(interfaces, &local) ? END_NONE
									   : END_ADDRESS_GONE;
}

void parked_check_interfaces(struct worker *w, const struct netif_list *interfaces)
{
	list_for_each_safe (link, &w->parked) {
		struct parked *p = container_of(link, struct parked, link);
		enum flow_end lost = lost_ground(p, interfaces);

		if (lost)
			end(p, lost);
		else
			follow(p);
	}
}

size_t parked_describe(const struct worker *w, struct flow_info *ret, size_t count)
{
	size_t n = 0;

	list_for_each (link, &w->parked) {
		if (n == count)
			break;
		describe(container_of(link, struct parked, link), END_NONE, &ret[n++]);
	}
	return n;
}

void parked_bytes(const struct worker *w, uint64_t ret[SIDES])
{
	ret[CLIENT] = ret[UPSTREAM] = 0;
	list_for_each (link, &w->parked) {
		const struct parked *p = container_of(link, struct parked, link);
		struct packet_stats stats;

		packet_stats(&p->pair, &stats);
		for (int side = 0; side < SIDES; side++)
			ret[side] += stats.bytes[side] - p->base[side];
	}
}

void parked_label(const struct relay *relay, struct seam_label *ret)
{
	const struct tcp_flow *f = container_of(relay, struct tcp_flow, relay);
	const struct label_names names = { f->inbound, f->outbound, f->domain, f->rule };

	*ret = label_make(f->id, f->worker->loop.now_ms - f->start_ms, &names);
	ret->interface = (uint32_t)sock_bound_interface(f->side[UPSTREAM].fd);
	for (int side = 0; side < SIDES; side++)
		ret->bytes[side] = relay->pump[side].bytes;
}

void parked_tell(const struct relay *relay)
{
	const struct tcp_flow *f = container_of(relay, struct tcp_flow, relay);
	char why[RELAY_MISSED_STRLEN];

	if (relay->untaken)
		flow_log(f, LOG_DEBUG, "packet: not taken: %s",
			 relay_untaken_names[relay->untaken]);
	else
		flow_log(f, LOG_DEBUG, "packet: missed: %s",
			 relay_missed_format(relay->missed, why));
}
