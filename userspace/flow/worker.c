#include "flow/worker.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "dns/resolver.h"
#include "dns/reverse.h"
#include "flow/parked.h"

static int listen_all(struct worker *w, char *reason)
{
	char where[ADDR_STRLEN];

	w->listeners = calloc(w->config->inbound_count, sizeof(*w->listeners));
	if (!w->listeners) {
		snprintf(reason, 256, "out of memory");
		return -ENOMEM;
	}
	for (size_t i = 0; i < w->config->inbound_count; i++) {
		const struct inbound *in = &w->config->inbounds[i];
		const char *call;
		int r;

		if (!(in->network & CONFIG_NETWORK_TCP))
			continue;
		r = listener_init(&w->listeners[w->listener_count], w, in, &call);
		if (r) {
			snprintf(reason, 256, "inbound %s: %s on %s: %s%s", in->tag, call,
				 addr_format(&in->listen, where), strerror(-r),
				 r == -EPERM ? "; it takes CAP_NET_ADMIN" : "");
			return r;
		}
		w->listener_count++;
	}
	return 0;
}

/* What its dials need. */
static int init_dial_env(struct worker *w)
{
	int r = route_socket_init(&w->routes);

	w->dial_env = (struct dial_env){ .loop = &w->loop, .routes = &w->routes };
	if (!r)
		r = resolver_new(&w->dial_env.resolver, &w->loop, w->config->dns,
				 dialers_dns_socket, w->config->dialers);
	if (!r && w->config->reverse)
		resolver_set_reverse(w->dial_env.resolver, w->config->reverse);
	return r;
}

int worker_init(struct worker *w, unsigned index, const struct flow_config *config,
		struct fastpath *fastpath, enum relay_refusal why_not, char *reason)
{
	int r;

	*w = (struct worker){ .index = index,
			      .config = config,
			      .loop.epoll_fd = -1,
			      .post.io = LOOP_IO_NULL,
			      .routes.fd = -1,
			      .next_id = index + 1,
			      .max_flows = (config->max_flows + config->workers - 1) /
					   config->workers };
	list_init(&w->flows);
	mem_pool_init(&w->flow_pool, sizeof(struct tcp_flow));
	parked_init(w);
	r = loop_init(&w->loop);
	if (!r)
		r = post_box_init(&w->post, &w->loop);
	if (!r)
		r = init_dial_env(w);
	if (!r)
		r = relay_env_init(&w->relay_env, &config->relay, config->workers,
				   config->max_flows, &w->loop, tcp_flow_wake);
	if (!r && fastpath)
		r = relay_env_open_gates(&w->relay_env, fastpath, (uint16_t)index);
	else
		w->relay_env.gates_why = why_not;
	if (r) {
		snprintf(reason, 256, "worker %u: %s", index, strerror(-r));
		return r;
	}
	w->netns_cookie = sock_netns_cookie(w->routes.fd);
	r = listen_all(w, reason);
	return r ? r : udp_init(w, reason);
}

static void *run(void *arg)
{
	struct worker *w = arg;
	int r = loop_run(&w->loop);

	if (r)
		log_error("worker", "%u: epoll_wait: %s", w->index, strerror(-r));
	worker_kill_all(w, END_SHUTDOWN);
	udp_kill_all(w, END_SHUTDOWN);
	return NULL;
}

void worker_use_packet(struct worker *w, struct packet *packet)
{
	w->relay_env.packet.packet = packet;
	w->relay_env.packet.routes = &w->routes;
	w->relay_env.packet.describe = parked_label;
}

void worker_skip_ids(struct worker *w, uint64_t id)
{
	while (w->next_id <= id)
		w->next_id += (id - w->next_id) / w->config->workers * w->config->workers +
			      w->config->workers;
}

int worker_start(struct worker *w)
{
	int r = pthread_create(&w->thread, NULL, run, w);

	w->running = !r;
	return -r;
}

struct stop {
	struct post post;
	struct worker *worker;
};

static void on_stop(struct post *post)
{
	loop_stop(&container_of(post, struct stop, post)->worker->loop);
}

void worker_deinit(struct worker *w)
{
	struct stop stop = { .worker = w };

	if (!w->config)
		return;
	if (w->running) {
		post_send(&w->post, &stop.post, on_stop);
		pthread_join(w->thread, NULL);
		w->running = false;
	}
	parked_end_all(w, END_SHUTDOWN); /* of a worker that never ran */
	for (size_t i = 0; i < w->listener_count; i++)
		listener_deinit(&w->listeners[i]);
	free(w->listeners);
	udp_deinit(w);
	relay_env_deinit(&w->relay_env);
	post_box_deinit(&w->post); /* what still waits there may bring interfaces */
	resolver_free(w->dial_env.resolver);
	route_socket_deinit(&w->routes);
	netif_list_unref(w->dial_env.interfaces);
	loop_deinit(&w->loop);
	mem_pool_deinit(&w->flow_pool);
	mem_pool_deinit(&w->parked_pool);
	w->config = NULL;
}

static void check_drained(struct worker *w)
{
	void (*on_drained)(struct worker *) = w->on_drained;

	if (!w->draining || !list_empty(&w->flows) || !list_empty(&w->parked) || !on_drained)
		return;
	w->on_drained = NULL;
	on_drained(w);
}

void worker_drain(struct worker *w)
{
	w->draining = true;
	for (size_t i = 0; i < w->listener_count; i++)
		listener_deinit(&w->listeners[i]);
	if (w->config->relay.on_exit == EXIT_KEEP)
		parked_end_all(
			w, END_DETACHED); /* they do not hold up the end: they go on without us */
	check_drained(w);
}

void worker_set_interfaces(struct worker *w, struct netif_list *interfaces)
{
	netif_list_ref(interfaces);
	netif_list_unref(w->dial_env.interfaces);
	w->dial_env.interfaces = interfaces;
	list_for_each_safe (link, &w->flows)
		tcp_flow_check_interfaces(container_of(link, struct tcp_flow, link), interfaces);
	udp_check_interfaces(w, interfaces);
	parked_check_interfaces(w, interfaces);
}

void worker_kill_all(struct worker *w, enum flow_end why)
{
	while (!list_empty(&w->flows))
		tcp_flow_kill(container_of(w->flows.next, struct tcp_flow, link), why);
	parked_end_all(w, why);
}

int worker_kill(struct worker *w, uint64_t id)
{
	list_for_each (link, &w->flows) {
		struct tcp_flow *f = container_of(link, struct tcp_flow, link);

		if (f->id != id)
			continue;
		tcp_flow_kill(f, END_KILLED);
		return 0;
	}
	return udp_kill(w, id) ? parked_kill(w, id) : 0;
}

static void put_packet_stats(const struct worker *w, struct worker_stats *ret)
{
	const struct packet_env *env = &w->relay_env.packet;
	uint64_t bytes[SIDES];

	ret->taken = env->taken;
	ret->missed = env->missed;
	memcpy(ret->untaken, env->untaken, sizeof(ret->untaken));
	ret->adopted = w->adopted_count;
	parked_bytes(w, bytes);
	for (int side = 0; side < SIDES; side++) {
		ret->bytes[side] += bytes[side];
		ret->kernel_bytes[side] += bytes[side];
	}
}

void worker_stats(const struct worker *w, struct worker_stats *ret)
{
	const struct relay_env *env = &w->relay_env;

	*ret = w->stats;
	put_packet_stats(w, ret);
	ret->active = worker_flow_count(w);
	ret->entered = env->entered;
	ret->spilled = env->spilled;
	ret->broken = env->broken;
	memcpy(ret->refused, env->refused, sizeof(ret->refused));
	ret->memory_used = env->memory.used;
	ret->memory_limit = env->memory.limit;
	udp_stats(w, &ret->udp);
	list_for_each (link, &w->flows) {
		const struct tcp_flow *f = container_of(link, struct tcp_flow, link);

		for (int side = 0; side < SIDES && f->relay.env; side++) {
			ret->bytes[side] += relay_bytes(&f->relay, side);
			ret->kernel_bytes[side] += relay_kernel_bytes(&f->relay, side);
		}
	}
}

size_t worker_flow_count(const struct worker *w)
{
	return w->flow_pool.used + w->parked_count;
}

size_t worker_describe(const struct worker *w, struct flow_info *ret, size_t count)
{
	size_t n = 0;

	list_for_each (link, &w->flows) {
		if (n == count)
			break;
		tcp_flow_describe(container_of(link, struct tcp_flow, link), &ret[n++]);
	}
	return n + parked_describe(w, ret + n, count - n);
}

void worker_flow_ended(struct worker *w, const struct tcp_flow *f)
{
	struct flow_info info;

	w->stats.ended[f->end]++;
	for (int side = 0; side < SIDES && f->relay.env; side++) {
		w->stats.bytes[side] += relay_bytes(&f->relay, side);
		w->stats.kernel_bytes[side] += relay_kernel_bytes(&f->relay, side);
	}
	if (w->watch) {
		tcp_flow_describe(f, &info);
		w->watch(w->watch_ctx, &info);
		flow_info_deinit(&info);
	}
}

void worker_flow_gone(struct worker *w)
{
	for (size_t i = 0; i < w->listener_count; i++)
		listener_resume(&w->listeners[i]);
	check_drained(w);
}

bool worker_is_full(const struct worker *w)
{
	return worker_flow_count(w) >= w->max_flows;
}

bool worker_listens_on(const struct worker *w, const struct addr *addr)
{
	for (size_t i = 0; i < w->config->inbound_count; i++)
		if (w->config->inbounds[i].listen.port == addr->port)
			return true;
	return false;
}
