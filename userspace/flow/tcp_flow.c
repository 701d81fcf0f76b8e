/* tcp_flow - read this first: the way of a connection.
 *
 *   accept (flow/listener) -> ROUTE -> DIAL (dial/) -> RELAY (relay/, kern/gate) -> CLOSE
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
#include "flow/worker.h"
#include "net/sock.h"

#define KEEP_ALIVE_AFTER_MS 15000U /* most flows are over before keep-alive could matter */
#define IDLE_CHECKS         8U     /* a timeout: how late it may be noticed is an eighth of it */

NAME_TABLE(flow_state_names, FLOW_STATE_COUNT, "route", "dial", "relay", "close");
NAME_TABLE(flow_end_names, END_COUNT, "none", "done", "rejected", "bad-address", "loop",
	   "client-gone", "dial-failed", "dial-timeout", "client-reset", "upstream-reset",
	   "backlog", "no-memory", "idle", "half-closed-idle", "killed", "shutdown");

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

static void log_dial_failed(const struct tcp_flow *f, int err, const char *call)
{
	flow_log(f, LOG_INFO, "dial failed: %s: %s", call ? call : "dial", strerror(-err));
}

static void on_dialed(void *owner, const struct dial_result *result)
{
	struct tcp_flow *f = owner;
	int err = result->err;

	f->dial = NULL;
	if (!err)
		err = stream_init_moved(&f->side[UPSTREAM], result->io, on_upstream_io);
	if (err) {
		log_dial_failed(f, err, result->call);
		f->worker->stats.dial_failures++;
		flow_end(f, err == -ETIMEDOUT ? END_DIAL_TIMEOUT : END_DIAL_FAILED);
	} else {
		flow_goto(f, FLOW_RELAY);
		relay_begins(f);
	}
	flow_advance(f);
}

static enum step flow_route(struct tcp_flow *f)
{
	const struct dial_request request = { .loop = &f->worker->loop,
					      .target.addr = f->destination,
					      .done = on_dialed,
					      .owner = f };
	enum flow_end bad = check_addresses(f);
	const char *call;
	int r;

	if (bad)
		return flow_end(f, bad);
	f->outbound = f->worker->config->final;
	if (!f->outbound->dialer)
		return flow_end(f, END_REJECTED);
	flow_goto(f, FLOW_DIAL);
	r = dial_start(&f->dial, f->outbound->dialer, &request, &call);
	if (r) {
		log_dial_failed(f, r, call);
		f->worker->stats.dial_failures++;
		return flow_end(f, END_DIAL_FAILED);
	}
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
	f->idle_since_ms = w->loop.now_ms;
	if (!f->outbound->keep_alive.enabled)
		f->keep_alive_set = true;
	else if (f->outbound->keep_alive.idle_ms < KEEP_ALIVE_AFTER_MS)
		set_keep_alive(f);
	restart_timer(f);
	if (w->watch) {
		tcp_flow_describe(f, &info);
		w->watch(w->watch_ctx, &info);
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
	list_unlink(&f->link);
	mem_pool_put(&w->flow_pool, f);
	worker_flow_gone(w);
	return STEP_WAIT;
}

static enum step (*const steps[FLOW_STATE_COUNT])(struct tcp_flow *) = {
	[FLOW_ROUTE] = flow_route,
	[FLOW_DIAL] = flow_dial,
	[FLOW_RELAY] = flow_relay,
	[FLOW_CLOSE] = flow_close,
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
	timer_init(&f->timer, on_flow_timer);
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

static const char *const gate_names[] = { "new", "shut", "open", "spilled", "local", "broken" };

void tcp_flow_describe(const struct tcp_flow *f, struct flow_info *ret)
{
	const struct relay *relay = &f->relay;

	*ret = (struct flow_info){ .id = f->id,
				   .age_ms = f->worker->loop.now_ms - f->start_ms,
				   .state = f->state,
				   .end = f->end,
				   .inbound = f->inbound->tag,
				   .outbound = f->outbound ? f->outbound->tag : "",
				   .source = f->source,
				   .destination = f->destination,
				   .method = relay_method_name(relay),
				   .refused = relay_refusal_names[relay->refused] };
	for (int side = 0; side < SIDES; side++) {
		ret->side[side].gate = "";
		if (!relay->env)
			continue;
		ret->side[side].bytes = relay_bytes(relay, side);
		ret->side[side].kernel_bytes = relay_kernel_bytes(relay, side);
		if (relay->gate) {
			ret->side[side].gate = gate_names[gate_state(relay->gate, side)];
			ret->side[side].spills = gate_dir(relay->gate, side)->spills;
		}
	}
}
