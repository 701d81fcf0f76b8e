/* tcp_flow - read this first: the way of a connection.
 *
 *   accept (flow/listener) -> ROUTE (flow/decide) -> DIAL (dial/) -> KICK (flow/kick) -> RELAY (relay/, kern/gate)
 *   -> PARKED (flow/parked, kern/packet) or CLOSE
 *
 * A flow is a state and one step function a state. Every wake-up, from a socket, a dial, a timer or ctl,
 * ends in flow_advance(), which runs steps until one has to wait. flow_end() is the only way to CLOSE, and
 * CLOSE frees a flow from any state. PARKED leaves it to a smaller object.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "dial/match.h"
#include "flow/hijack.h"
#include "flow/idle.h"
#include "flow/parked.h"
#include "flow/worker.h"
#include "net/sock.h"
#include "relay/opening.h"

enum step { STEP_WAIT, STEP_NEXT };

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

static void relay_begins(struct tcp_flow *f);
static void on_dial_timeout(struct timer *timer);

static enum step dial_failed(struct tcp_flow *f, int err, const char *call)
{
	char tried[384];

	flow_log(f, LOG_INFO, "dial failed: %s: %s%s%s", call ? call : "dial", strerror(-err),
		 f->trace.count ? "; " : "", trace_format(&f->trace, tried, sizeof(tried)));
	f->worker->stats.dial_failures++;
	return flow_end(f, err == -ETIMEDOUT ? END_DIAL_TIMEOUT : END_DIAL_FAILED);
}

/* What the tunnel owes goes first, if it owes anything. */
static void kick_or_relay(struct tcp_flow *f, const struct dial_result *result)
{
	const struct route_verdict *verdict = f->decide ? decide_verdict(f->decide) : NULL;
	bool cut = verdict &&
		   (verdict->options.tls_fragment || verdict->options.tls_record_fragment);

	if (!result->owed && !result->owes_write) {
		flow_goto(f, FLOW_RELAY);
		relay_begins(f);
		return;
	}
	f->kick = (struct kick){ .owed = result->owed, .opens = result->owes_write, .bare = cut };
	timer_start(&f->timer, &f->worker->loop.timers, cut ? 0 : KICK_WAIT_MS);
	loop_io_want(&f->side[CLIENT].io, EPOLLIN | EPOLLRDHUP);
	flow_goto(f, FLOW_KICK);
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
		if (err)
			dial_owed_free(result->owed);
	}
	if (err)
		dial_failed(f, err, call);
	else
		kick_or_relay(f, result);
	flow_advance(f);
}

static enum step begin_dial(struct tcp_flow *f)
{
	struct dial_request request = {
		.env = &f->worker->dial_env,
		.target = decide_target(f->decide, &f->outbound->override, &f->destination),
		.source = f->source,
		.original = f->destination,
		.syn = match_client(&f->worker->dial_env, f->side[CLIENT].fd),
		.trace = &f->trace,
		.done = on_dialed,
		.owner = f
	};
	const char *call;
	int r;

	if (f->decide) {
		const struct route_options *options = &decide_verdict(f->decide)->options;

		request.strategy = decide_strategy(f->decide);
		if (options->has_fallback_delay)
			request.fallback_delay_ms = &options->fallback_delay_ms;
	}
	flow_goto(f, FLOW_DIAL);
	trace_init(&f->trace, f->worker->loop.now_ms);
	f->dial_ms = f->worker->loop.now_ms;
	r = dial_start(&f->dial, f->outbound->dialer, &request, &call);
	if (r)
		return dial_failed(f, r, call);
	timer_start(&f->timer, &f->worker->loop.timers, f->outbound->dial_timeout_ms);
	/* EPOLLIN is left alone: data may come early, and waits in the socket */
	loop_io_want(&f->side[CLIENT].io, EPOLLRDHUP);
	return STEP_WAIT;
}

static void on_decide_wake(void *owner)
{
	flow_advance(owner);
}

static enum step begin_decide(struct tcp_flow *f)
{
	const struct decide_request request = { .worker = f->worker,
						.inbound = f->inbound,
						.client = &f->side[CLIENT],
						.source = f->source,
						.destination = f->destination,
						.timer = &f->timer,
						.wake = on_decide_wake,
						.owner = f };

	if (decide_new(&f->decide, &request))
		return flow_end(f, END_NO_MEMORY);
	loop_io_want(&f->side[CLIENT].io, EPOLLIN | EPOLLRDHUP);
	return STEP_NEXT;
}

static void take_verdict(struct tcp_flow *f)
{
	const struct route_verdict *verdict = decide_verdict(f->decide);
	const struct sniff *sniff = decide_sniffed(f->decide);

	f->rule = verdict->config ? verdict->rule : CONFIG_NONE;
	f->protocol = sniff->protocol;
	if (sniff->domain[0])
		f->domain = strdup(
			sniff->domain); /* for people only: without memory it is left out */
	if (verdict->action == ACTION_ROUTE)
		f->outbound = &f->worker->config->outbounds[verdict->outbound];
}

static enum step unresolved(struct tcp_flow *f)
{
	const char *name, *why = decide_unresolved(f->decide, &name);

	flow_log(f, LOG_INFO, "unresolved: %s: %s", name, why);
	return flow_end(f, END_UNRESOLVED);
}

static enum step act(struct tcp_flow *f)
{
	const struct route_verdict *verdict = decide_verdict(f->decide);

	take_verdict(f);
	if (verdict->action == ACTION_HIJACK_DNS)
		return hijack_start(f, on_decide_wake) ? flow_end(f, END_NO_MEMORY)
						       : flow_goto(f, FLOW_DNS);
	if (verdict->action == ACTION_REJECT)
		return flow_end(f, verdict->config->reject == REJECT_DROP ? END_DROPPED
									  : END_REJECTED);
	return f->outbound->dialer ? begin_dial(f) : flow_end(f, END_REJECTED);
}

static enum step flow_dns(struct tcp_flow *f)
{
	enum flow_end end = hijack_run(f);

	return end ? flow_end(f, end) : STEP_WAIT;
}

static enum step run_rules(struct tcp_flow *f)
{
	if (f->side[CLIENT].io.have & (EPOLLERR | EPOLLHUP))
		return flow_end(f, END_CLIENT_RESET);
	switch (decide_run(f->decide)) {
	case DECIDE_GONE:
		return flow_end(f, END_CLIENT_GONE);
	case DECIDE_UNRESOLVED:
		take_verdict(f);
		return unresolved(f);
	case DECIDE_DONE:
		return act(f);
	case DECIDE_WAIT:
	default:
		return STEP_WAIT;
	}
}

static enum step flow_route(struct tcp_flow *f)
{
	enum flow_end bad;

	if (f->decide)
		return run_rules(f);
	bad = listener_refuses(f->worker, &f->source, &f->destination);
	if (bad)
		return flow_end(f, bad);
	if (f->worker->config->rules)
		return begin_decide(f);
	f->outbound = f->worker->config->final;
	return f->outbound->dialer ? begin_dial(f) : flow_end(f, END_REJECTED);
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
	uint64_t spent = f->worker->loop.now_ms - f->dial_ms, all = f->outbound->dial_timeout_ms;
	uint64_t left = spent < all ? all - spent : 0;

	return left < f->outbound->connect_timeout_ms ? left : f->outbound->connect_timeout_ms;
}

/* The dial was promised a connection that it did not get. */
static enum step kick_failed(struct tcp_flow *f, int err, const char *call)
{
	if (f->kick.opens)
		trace_revoke(&f->trace, err, call, f->worker->loop.now_ms);
	return dial_failed(f, err, call);
}

static enum step kick_done(struct tcp_flow *f)
{
	flow_goto(f, FLOW_RELAY);
	relay_begins(f);
	return STEP_NEXT;
}

/* Pays what is owed, then waits for the answer to the SYN if it left with that. */
static enum step flow_kick(struct tcp_flow *f)
{
	struct stream *client = &f->side[CLIENT], *upstream = &f->side[UPSTREAM];
	bool first = !f->kick.written, writable = upstream->io.have & EPOLLOUT;
	int r = 0;

	if (client->io.have & (EPOLLERR | EPOLLHUP))
		return flow_end(f, END_CLIENT_RESET);
	if (!first && upstream->io.have & (EPOLLERR | EPOLLHUP))
		return kick_failed(f, sock_error(upstream->fd), "connect");
	if (first || (writable && kick_owes(&f->kick))) {
		r = kick_pay(&f->kick, client, upstream, !first || !timer_running(&f->timer));
		if (r == -EAGAIN)
			return STEP_WAIT;
		if (r < 0 && r != -EINPROGRESS)
			return kick_failed(f, r, "first write");
		if (first)
			timer_start(&f->timer, &f->worker->loop.timers, connect_time_ms(f));
		if (!r && !f->kick.opens)
			return kick_done(f);
		loop_io_want(&client->io, 0);
		loop_io_want(&upstream->io, EPOLLOUT);
		return STEP_WAIT;
	}
	return writable ? kick_done(f) : STEP_WAIT;
}

static void on_dial_timeout(struct timer *timer)
{
	struct tcp_flow *f = container_of(timer, struct tcp_flow, timer);

	if (f->state == FLOW_ROUTE)
		decide_time_up(f->decide);
	else if (f->state == FLOW_DIAL)
		dial_failed(f, -ETIMEDOUT, "dial_timeout");
	else if (f->kick.written)
		kick_failed(f, -ETIMEDOUT, "connect");
	flow_advance(f); /* in FLOW_KICK a first write without the client's bytes is due */
}

/* Without memory a hello passes uncut; but an answer that stays in the stream would be the client's. */
static int open_relay(struct tcp_flow *f)
{
	const struct route_options *options = f->decide ? &decide_verdict(f->decide)->options
							: NULL;
	struct dial_owed *owed = f->kick.owed;
	int r = 0;

	if (options && (options->tls_fragment || options->tls_record_fragment)) {
		const struct relay_tls tls = { .packets = options->tls_fragment,
					       .records = options->tls_record_fragment,
					       .delay_ms = options->tls_fragment_fallback_delay_ms,
					       .limit_ms = f->outbound->dial_timeout_ms };

		(void)relay_open_tls(&f->relay, &tls);
	}
	if (owed && owed->ops)
		r = relay_open_answer(&f->relay, owed->ops, TAKE_PTR(owed->state));
	dial_owed_free(owed);
	f->kick.owed = NULL;
	decide_free(f->decide);
	f->decide = NULL;
	return r;
}

static void relay_begins(struct tcp_flow *f)
{
	struct worker *w = f->worker;
	struct flow_info info;

	relay_start(&f->relay, &w->relay_env, &f->side[CLIENT], &f->side[UPSTREAM]);
	f->relay.pump[CLIENT].bytes = f->kick.bytes;
	idle_begin(f);
	if (open_relay(f)) {
		flow_end(f, END_NO_MEMORY);
		return;
	}
	if (f->outbound->multi_path && sock_is_mptcp(f->side[UPSTREAM].fd))
		relay_refuse(&f->relay, REFUSED_MPTCP);
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
	bool was_half_closed = idle_half_closed(f);
	int r = relay_run(&f->relay, &label);

	if (r < 0) {
		const char *why = f->relay.opening ? f->relay.opening->why : NULL;

		flow_log(f, why ? LOG_INFO : LOG_DEBUG, "%s socket: %s",
			 f->relay.failed == CLIENT ? "client" : "upstream",
			 why ? why : strerror(-r));
		return flow_end(f, why_broken(f, r));
	}
	if (r == RELAY_DONE)
		return flow_end(f, END_DONE);
	if (r == RELAY_TAKEN)
		return flow_goto(f, FLOW_PARKED);
	if (idle_half_closed(f) && !was_half_closed)
		idle_restart(f); /* another limit holds from here */
	return STEP_WAIT;
}

/* The order matters: stop the work, then the sockets, then what knew them. */
static void release(struct tcp_flow *f, bool reset)
{
	struct worker *w = f->worker;

	timer_stop(&f->timer, &w->loop.timers);
	relay_stop(&f->relay);
	for (int side = 0; side < SIDES; side++)
		stream_close(&f->side[side], reset);
	relay_release(&f->relay);
	trace_deinit(&f->trace);
	dns_flow_free(f->dns);
	decide_free(f->decide);
	dial_owed_free(f->kick.owed);
	free(f->domain);
	list_unlink(&f->link);
	mem_pool_put(&w->flow_pool, f);
	worker_flow_gone(w);
}

static enum step flow_parked(struct tcp_flow *f)
{
	relay_stop(&f->relay);
	if (parked_begin(f))
		return flow_end(f, END_NO_MEMORY);
	release(f, false);
	return STEP_WAIT;
}

static enum step flow_close(struct tcp_flow *f)
{
	struct worker *w = f->worker;
	bool reset = f->end != END_DONE;

	if (f->relay.env)
		flow_log(f, flow_end_level(f->end), "%s, %s, up %llu down %llu bytes",
			 flow_end_names[f->end], relay_method_name(&f->relay),
			 (unsigned long long)relay_bytes(&f->relay, CLIENT),
			 (unsigned long long)relay_bytes(&f->relay, UPSTREAM));
	else
		flow_log(f, flow_end_level(f->end), "%s", flow_end_names[f->end]);
	worker_flow_ended(w, f);
	dial_cancel(f->dial, f->end != END_CLIENT_GONE);
	if (f->relay.env && relay_packet_settle(&f->relay))
		parked_release(w, &f->relay.pair, f->end);
	if (f->end == END_DROPPED && !sock_set_silent_close(f->side[CLIENT].fd))
		reset = false;
	release(f, reset);
	return STEP_WAIT;
}

static enum step (*const steps[FLOW_STATE_COUNT])(struct tcp_flow *) = {
	[FLOW_ROUTE] = flow_route, [FLOW_DNS] = flow_dns,     [FLOW_DIAL] = flow_dial,
	[FLOW_KICK] = flow_kick,   [FLOW_RELAY] = flow_relay, [FLOW_PARKED] = flow_parked,
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
				.rule = CONFIG_NONE,
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
