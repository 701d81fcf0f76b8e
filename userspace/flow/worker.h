/* worker - one thread: a loop, its own listeners, its flows, pools and counters. Workers share nothing but
 * the configuration, the fast path and post_send(). */
#pragma once
#include <pthread.h>
#include "base/mem.h"
#include "dial/build.h"
#include "flow/flow.h"
#include "flow/listener.h"
#include "flow/udp.h"
#include "kern/interfaces.h"
#include "kern/route.h"
#include "route/route.h"
#include "loop/post.h"

/* Immutable, shared by all workers. */
struct flow_config {
	const struct config *config; /* what it was made of, for ctl to tell of */
	struct inbound *inbounds;
	size_t inbound_count;
	struct outbound *outbounds;
	size_t outbound_count;
	const struct outbound *final;
	struct dialers *dialers;
	struct route_rules *rules; /* NULL: all goes to @final */
	struct route_needs needs;
	const uint16_t *server_first_ports; /* the configuration's, as the next */
	size_t server_first_port_count;
	const struct config_dns *dns; /* the configuration's */
	struct dns_reverse *reverse;  /* of all workers' resolvers; NULL: no reverse_mapping */
	struct config_relay relay;
	uint32_t workers, max_flows;
	uint32_t max_udp_sessions, max_udp_sessions_per_source;
	uint32_t udp_replies; /* sockets to answer UDP clients by */
};

/* @config outlives it. -errno with @reason (256 bytes). */
int flow_config_build(const struct config *config, struct flow_config **ret, char *reason);
void flow_config_free(struct flow_config *config); /* NULL is fine */

/* Written by the worker's thread; summed by ctl from copies. */
struct worker_stats {
	uint64_t accepted, active, accept_pauses;
	uint64_t ended[END_COUNT];
	uint64_t dial_failures;
	uint64_t bytes[SIDES],
		kernel_bytes[SIDES]; /* of ended flows, and before flows were parked */
	uint64_t entered, spilled, broken, refused[REFUSED_COUNT];
	uint64_t taken, missed, untaken[UNTAKEN_COUNT], adopted; /* by tc; adopted: live now */
	uint64_t memory_used, memory_limit;
	struct udp_stats udp;
};

/* Told on the worker's thread of each flow that starts to relay and each that ends. It may take
 * info->attempts over. */
typedef void worker_watch_fn(void *ctx, struct flow_info *info);

struct worker {
	unsigned index;
	pthread_t thread;
	bool running;
	struct loop loop;
	struct post_box post;
	const struct flow_config *config;
	struct relay_env relay_env;
	struct dial_env dial_env;
	struct route_socket routes; /* of dial_env */
	struct mem_pool flow_pool, parked_pool;
	struct list flows;
	struct list parked;                 /* struct parked, see flow/parked.h */
	size_t parked_count, adopted_count; /* adopted: of these, an earlier daemon's */
	uint64_t next_id;
	uint32_t max_flows;
	struct listener *listeners;
	size_t listener_count;
	struct udp udp;
	uint64_t netns_cookie; /* of the network namespace that it runs in */
	struct worker_stats stats;
	bool draining;
	void (*on_drained)(
		struct worker *worker); /* on the worker's thread, once, after worker_drain() */
	worker_watch_fn *watch;
	void *watch_ctx;
};

/* Makes the loop and the listeners; -errno and @reason (256 bytes): which call, which address, what to do.
 * @fastpath NULL: without the sockmap, for @why_not. */
int worker_init(struct worker *worker, unsigned index, const struct flow_config *config,
		struct fastpath *fastpath, enum relay_refusal why_not, char *reason);
/* tc may take over flows of this worker. Before worker_start(). */
void worker_use_packet(struct worker *worker, struct packet *packet);
/* Ids up to @id are somebody else's. Before worker_start(). */
void worker_skip_ids(struct worker *worker, uint64_t id);
int worker_start(struct worker *worker); /* the thread */
/* Stops the thread, resets what still flows, frees. Half-initialised and zeroed are fine. */
void worker_deinit(struct worker *worker);

/* The rest on the worker's thread, by post_send(&worker->post, ...). */
void worker_drain(
	struct worker *worker); /* accepts no more; on_drained() when the last flow ended */
/* What the network looks like now; flows whose address or interface is gone end. Also before
 * worker_start(). */
void worker_set_interfaces(struct worker *worker, struct netif_list *interfaces);
void worker_kill_all(struct worker *worker, enum flow_end why);
int worker_kill(struct worker *worker, uint64_t id); /* a flow or a UDP session; -ENOENT */
void worker_stats(const struct worker *worker, struct worker_stats *ret);
size_t worker_flow_count(const struct worker *worker);
/* Up to @count of them, each to be given back by flow_info_deinit(); returns how many. */
size_t worker_describe(const struct worker *worker, struct flow_info *ret, size_t count);

/* For flows. */
void worker_flow_ended(struct worker *worker, const struct tcp_flow *flow); /* to account for it */
void worker_flow_gone(struct worker *worker); /* its place and its descriptors are free */
bool worker_is_full(const struct worker *worker);
bool worker_listens_on(const struct worker *worker, const struct addr *addr);
