/* tcp_flow - read this first: the way of a connection.
 *
 *   accept (flow/listener) -> ROUTE -> DIAL (dial/) -> KICK (flow/kick) -> RELAY (relay/, kern/gate) -> CLOSE
 *
 * A flow is a state and one step function a state. Every wake-up, from a socket, a dial, a timer or ctl,
 * ends in flow_advance(), which runs steps until one has to wait. flow_end() is the only way to CLOSE, and
 * CLOSE frees a flow from any state.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "base/names.h"
#include "flow/kick.h"
#include "flow/worker.h"
#include "kern/interfaces.h"
#include "net/sock.h"

#define KEEP_ALIVE_AFTER_MS 15000U /* most flows are over before keep-alive could matter */
#define IDLE_CHECKS         8U     /* a timeout: how late it may be noticed is an eighth of it */

NAME_TABLE(flow_state_names, FLOW_STATE_COUNT, "route", "dial", "kick", "relay", "close");
NAME_TABLE(flow_end_names, END_COUNT, "none", "done", "rejected", "bad-address", "loop",
	   "client-gone", "dial-failed", "dial-timeout", "address-gone", "interface-gone",
	   "client-reset", "upstream-reset", "backlog", "no-memory", "idle", "half-closed-idle",
	   "killed", "shutdown");

enum step { STEP_WAIT, STEP_NEXT };

__attribute__((format(printf, 3, 4))) static void
flow_log(const struct tcp_flow *f, enum log_level level, const char *format, ...)
{
	char source[ADDR_STRLEN], destination[ADDR_STRLEN], text[512];
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_write(level, "flow", "#%llu %s -> %s %s: %s", (unsigned long long)f->id,
		  addr_format(&f->source, source), addr_format(&f->destination, destination),
		  f->outbound ? f->outbound->tag : "-", text);
}

static enum step flow_goto(struct tcp_flow *f, enum flow_state next)
{
	assert(next > f->state);
	f->state = next;
	return STEP_NEXT;
}

static enum step flow_end(struct tcp_flow *f, enum flow_end why)
{
	f->end = why;
	return flow_goto(f, FLOW_CLOSE);
}

static void flow_advance(struct tcp_flow *f);

static void on_client_io(struct loop_io *io)
{
	flow_advance(container_of(io, struct tcp_flow, side[CLIENT].io));
}

static void on_upstream_io(struct loop_io *io)
{
	flow_advance(container_of(io, struct tcp_flow, side[UPSTREAM].io));
}

void tcp_flow_wake(struct relay *relay)
{
	flow_advance(container_of(relay, struct tcp_flow, relay));
}

static enum flow_end check_addresses(const struct tcp_flow *f)
{
	if (addr_is_unspecified(&f->source) || addr_is_multicast(&f->source) ||
	    addr_is_unspecified(&f->destination) || addr_is_multicast(&f->destination) ||
	    !f->destination.port)
		return END_BAD_ADDRESS;
	/* Reached directly instead of by TPROXY, a listener would dial itself, and that again */
	if (worker_listens_on(f->worker, &f->destination) && sock_addr_is_local(&f->destination))
		return END_LOOP;
	return END_NONE;
}

static void relay_begins(struct tcp_flow *f);
static void on_flow_timer(struct timer *timer);
static void on_dial_timeout(struct timer *timer);

static enum step dial_failed(struct tcp_flow *f, int err, const char *call)
{
	char tried[384];

	flow_log(f, LOG_INFO, "dial failed: %s: %s%s%s", call ? call : "dial", strerror(-err),
		 f->trace.count ? "; " : "", trace_format(&f->trace, tried, sizeof(tried)));
	f->worker->stats.dial_failures++;
	return flow_end(f, err == -ETIMEDOUT ? END_DIAL_TIMEOUT : END_DIAL_FAILED);
}

static void on_dialed(void *owner, const struct dial_result *result)
{
	struct tcp_flow *f = owner;
	const char *call = result->call;
	int err = result->err;

	f->dial = NULL;
	if (!err) {
		call = "epoll_ctl";
		err = stream_init_moved(&f->side[UPSTREAM], result->io, on_upstream_io);
	}
	if (err) {
		dial_failed(f, err, call);
	} else if (result->owes_write) {
		f->owes_write = true;
		timer_start(&f->timer, &f->worker->loop.timers, KICK_WAIT_MS);
		loop_io_want(&f->side[CLIENT].io, EPOLLIN | EPOLLRDHUP);
		flow_goto(f, FLOW_KICK);
	} else {
		flow_goto(f, FLOW_RELAY);
		relay_begins(f);
	}
	flow_advance(f);
}

static struct target target_of(const struct tcp_flow *f)
{
	const struct target *override = &f->outbound->override;
	struct target target = { .addr = f->destination };

	if (override->domain || override->addr.family != AF_UNSPEC)
		target = *override;
	else if (override->addr.port)
		target.addr.port = override->addr.port;
	if (!target.addr.port)
		target.addr.port = f->destination.port;
	return target;
}

static enum step flow_route(struct tcp_flow *f)
{
	enum flow_end bad = check_addresses(f);
	struct dial_request request = { .env = &f->worker->dial_env,
					.source = f->source,
					.trace = &f->trace,
					.done = on_dialed,
					.owner = f };
	const char *call;
	int r;

	if (bad)
		return flow_end(f, bad);
	f->outbound = f->worker->config->final;
	if (!f->outbound->dialer)
		return flow_end(f, END_REJECTED);
	flow_goto(f, FLOW_DIAL);
	request.target = target_of(f);
	trace_init(&f->trace, f->start_ms);
	r = dial_start(&f->dial, f->outbound->dialer, &request, &call);
	if (r)
		return dial_failed(f, r, call);
	timer_start(&f->timer, &f->worker->loop.timers, f->outbound->dial_timeout_ms);
	/* EPOLLIN is left alone: data may come early, and waits in the socket */
	loop_io_want(&f->side[CLIENT].io, EPOLLRDHUP);
	return STEP_WAIT;
}

/* The client's socket spoke up while we dial. A FIN behind data is a request whose answer is still wanted. */
static enum step flow_dial(struct tcp_flow *f)
{
	struct stream *client = &f->side[CLIENT];
	char byte;
	ssize_t n;

	if (client->io.have & (EPOLLERR | EPOLLHUP))
		return flow_end(f, END_CLIENT_RESET);
	n = recv(client->fd, &byte, 1, MSG_PEEK);
	if (n == 0 || (n < 0 && errno != EAGAIN))
		return flow_end(f, END_CLIENT_GONE);
	loop_io_want(&client->io, 0);
	return STEP_WAIT;
}

/* For the connect that begins now, with the first write. */
static uint64_t connect_time_ms(const struct tcp_flow *f)
{
	uint64_t spent = f->worker->loop.now_ms - f->start_ms, all = f->outbound->dial_timeout_ms;
	uint64_t left = spent < all ? all - spent : 0;

	return left < f->outbound->connect_timeout_ms ? left : f->outbound->connect_timeout_ms;
}

/* The dial was promised a connection that it did not get. */
static enum step kick_failed(struct tcp_flow *f, int err, const char *call)
{
	trace_revoke(&f->trace, err, call, f->worker->loop.now_ms);
	return dial_failed(f, err, call);
}

/* Pays the first write, then waits for the answer to the SYN that left with it. */
static enum step flow_kick(struct tcp_flow *f)
{
	struct stream *client = &f->side[CLIENT], *upstream = &f->side[UPSTREAM];
	int r;

	if (client->io.have & (EPOLLERR | EPOLLHUP))
		return flow_end(f, END_CLIENT_RESET);
	if (f->owes_write) {
		r = kick_pay(client, upstream, !timer_running(&f->timer), &f->kicked);
		if (r == -EAGAIN)
			return STEP_WAIT;
		if (r < 0)
			return kick_failed(f, r, "first write");
		f->owes_write = false;
		timer_start(&f->timer, &f->worker->loop.timers, connect_time_ms(f));
		loop_io_want(&client->io, 0);
		loop_io_want(&upstream->io, EPOLLOUT);
	}
	if (!(upstream->io.have & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return STEP_WAIT;
	r = sock_error(upstream->fd);
	if (r)
		return kick_failed(f, r, "connect");
	flow_goto(f, FLOW_RELAY);
	relay_begins(f);
	return STEP_NEXT;
}

static void on_dial_timeout(struct timer *timer)
{
	struct tcp_flow *f = container_of(timer, struct tcp_flow, timer);

	if (f->state == FLOW_DIAL)
		dial_failed(f, -ETIMEDOUT, "dial_timeout");
	else if (!f->owes_write)
		kick_failed(f, -ETIMEDOUT, "connect");
	flow_advance(f); /* without the client's bytes an empty first write is due */
}

static void set_keep_alive(struct tcp_flow *f)
{
	f->keep_alive_set = true;
	for (int side = 0; side < SIDES; side++)
		(void)sock_set_keep_alive(f->side[side].fd, &f->outbound->keep_alive);
}

static bool half_closed(const struct tcp_flow *f)
{
	return f->relay.pump[CLIENT].done != f->relay.pump[UPSTREAM].done;
}

/* The idle limit that holds now, 0: none. */
static uint32_t idle_limit_ms(const struct tcp_flow *f)
{
	const struct config_relay *config = &f->worker->config->relay;
	uint32_t idle = config->idle_timeout_ms, half = config->half_close_timeout_ms;

	if (!half_closed(f) || !half)
		return idle;
	return idle && idle < half ? idle : half;
}

static void restart_timer(struct tcp_flow *f)
{
	uint32_t limit = idle_limit_ms(f), delay = limit / IDLE_CHECKS + 1;

	if (!limit && f->keep_alive_set)
		return;
	if (!f->keep_alive_set && (!limit || delay > KEEP_ALIVE_AFTER_MS))
		delay = KEEP_ALIVE_AFTER_MS;
	timer_start(&f->timer, &f->worker->loop.timers, delay);
}

static void on_flow_timer(struct timer *timer)
{
	struct tcp_flow *f = container_of(timer, struct tcp_flow, timer);
	uint64_t now = f->worker->loop.now_ms;
	uint64_t bytes = relay_bytes(&f->relay, CLIENT) + relay_bytes(&f->relay, UPSTREAM);
	uint32_t limit = idle_limit_ms(f);

	if (!f->keep_alive_set && now - f->start_ms >= KEEP_ALIVE_AFTER_MS)
		set_keep_alive(f);
	if (bytes != f->idle_bytes) {
		f->idle_bytes = bytes;
		f->idle_since_ms = now;
	} else if (limit && now - f->idle_since_ms >= limit) {
		flow_end(f, half_closed(f) ? END_HALF_CLOSED_IDLE : END_IDLE);
		flow_advance(f);
		return;
	}
	restart_timer(f);
}

static void relay_begins(struct tcp_flow *f)
{
	struct worker *w = f->worker;
	struct flow_info info;

	relay_start(&f->relay, &w->relay_env, &f->side[CLIENT], &f->side[UPSTREAM]);
	f->relay.pump[CLIENT].bytes = f->kicked;
	if (f->outbound->multi_path && sock_is_mptcp(f->side[UPSTREAM].fd))
		relay_refuse(&f->relay, REFUSED_MPTCP);
	f->idle_since_ms = w->loop.now_ms;
	timer_stop(&f->timer, &w->loop.timers);
	timer_init(&f->timer, on_flow_timer);
	if (!f->outbound->keep_alive.enabled)
		f->keep_alive_set = true;
	else if (f->outbound->keep_alive.idle_ms < KEEP_ALIVE_AFTER_MS)
		set_keep_alive(f);
	restart_timer(f);
	if (w->watch) {
		tcp_flow_describe(f, &info);
		w->watch(w->watch_ctx, &info);
		flow_info_deinit(&info);
	}
}

static enum flow_end why_broken(const struct tcp_flow *f, int err)
{
	if (err == -ENOBUFS)
		return END_BACKLOG;
	if (err == -ENOMEM)
		return END_NO_MEMORY;
	return f->relay.failed == CLIENT ? END_CLIENT_RESET : END_UPSTREAM_RESET;
}

static enum step flow_relay(struct tcp_flow *f)
{
	const struct gate_label label = { .id = f->id,
					  .source = f->source,
					  .destination = f->destination };
	bool was_half_closed = half_closed(f);
	int r = relay_run(&f->relay, &label);

	if (r < 0) {
		flow_log(f, LOG_DEBUG, "%s socket: %s",
			 f->relay.failed == CLIENT ? "client" : "upstream", strerror(-r));
		return flow_end(f, why_broken(f, r));
	}
	if (r == RELAY_DONE)
		return flow_end(f, END_DONE);
	if (half_closed(f) && !was_half_closed) { /* another limit holds from here */
		f->idle_since_ms = f->worker->loop.now_ms;
		restart_timer(f);
	}
	return STEP_WAIT;
}

/* The order matters: stop the work, then the sockets, then what knew them. */
static enum step flow_close(struct tcp_flow *f)
{
	struct worker *w = f->worker;
	bool reset = f->end != END_DONE;

	flow_log(f, f->end == END_LOOP || f->end == END_BACKLOG ? LOG_WARN : LOG_DEBUG,
		 "%s, %s, up %llu down %llu bytes", flow_end_names[f->end],
		 relay_method_name(&f->relay),
		 (unsigned long long)(f->relay.env ? relay_bytes(&f->relay, CLIENT) : 0),
		 (unsigned long long)(f->relay.env ? relay_bytes(&f->relay, UPSTREAM) : 0));
	worker_flow_ended(w, f);
	dial_cancel(f->dial, f->end != END_CLIENT_GONE);
	timer_stop(&f->timer, &w->loop.timers);
	relay_stop(&f->relay);
	for (int side = 0; side < SIDES; side++)
		stream_close(&f->side[side], reset);
	relay_release(&f->relay);
	trace_deinit(&f->trace);
	list_unlink(&f->link);
	mem_pool_put(&w->flow_pool, f);
	worker_flow_gone(w);
	return STEP_WAIT;
}

static enum step (*const steps[FLOW_STATE_COUNT])(struct tcp_flow *) = {
	[FLOW_ROUTE] = flow_route, [FLOW_DIAL] = flow_dial,   [FLOW_KICK] = flow_kick,
	[FLOW_RELAY] = flow_relay, [FLOW_CLOSE] = flow_close,
};

static void flow_advance(struct tcp_flow *f) /* @f may be gone on return */
{
	while (steps[f->state](f) == STEP_NEXT)
		;
}

void tcp_flow_start(struct worker *w, const struct inbound *inbound, int fd,
		    const struct addr *source, const struct addr *destination)
{
	struct tcp_flow *f = mem_pool_get(&w->flow_pool);

	if (!f) {
		w->stats.ended[END_NO_MEMORY]++;
		(void)sock_set_reset_on_close(fd);
		close(fd);
		return;
	}
	*f = (struct tcp_flow){ .worker = w,
				.id = w->next_id,
				.start_ms = w->loop.now_ms,
				.inbound = inbound,
				.source = *source,
				.destination = *destination,
				.side = { STREAM_NULL, STREAM_NULL } };
	w->next_id += w->config->workers; /* unique over all workers */
	timer_init(&f->timer, on_dial_timeout);
	list_init(&f->link);
	list_append(&w->flows, &f->link);
	if (stream_init(&f->side[CLIENT], &w->loop, fd, on_client_io)) {
		(void)sock_set_reset_on_close(fd);
		close(fd);
		flow_end(f, END_NO_MEMORY);
	}
	flow_advance(f);
}

void tcp_flow_kill(struct tcp_flow *f, enum flow_end why)
{
	flow_end(f, why);
	flow_advance(f);
}

/* What the upstream socket stands on is gone: its packets would go nowhere until it times out. */
static enum flow_end lost_ground(const struct tcp_flow *f, const struct netif_list *interfaces)
{
	int fd = f->side[UPSTREAM].fd, interface = sock_bound_interface(fd);
	const struct netif *bound = netif_by_index(interfaces, interface);
	struct addr local;

	if (interface && !(bound && bound->up))
		return END_INTERFACE_GONE;
	if (f->outbound->foreign_source || sock_local_addr(fd, &local))
		return END_NONE;
	local.port = 0;
	return netif_has_address(interfaces, &local) ? END_NONE : END_ADDRESS_GONE;
}

void tcp_flow_check_interfaces(struct tcp_flow *f, const struct netif_list *interfaces)
{
	enum flow_end lost;

	if (f->state != FLOW_RELAY || f->outbound->elsewhere)
		return;
	lost = lost_ground(f, interfaces);
	if (!lost)
		return;
	flow_log(f, LOG_INFO, "%s", flow_end_names[lost]);
	tcp_flow_kill(f, lost);
}
