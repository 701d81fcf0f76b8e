/* udp_session - the way of a client's datagrams, as tcp_flow.c is that of a connection.
 *
 *   udp_take() (udp_listener) -> ROUTE (decide) -> DIAL (dial/) -> RELAY (dial/packet.h) -> CLOSE
 *
 * All that a client sends from one port goes one way, wherever to, and whoever answers there is passed on
 * (endpoint-independent mapping and filtering, RFC 4787); a session that can speak to one peer only is bound
 * to its first destination, and others have sessions of their own. What comes before there is a way is held,
 * and goes first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/names.h"
#include "dial/packet.h"
#include "flow/udp.h"
#include "flow/worker.h"

#define BLOCK_MS 10000 /* a verdict that nothing passes is remembered for */

NAME_TABLE(udp_state_names, UDP_STATE_COUNT, "route", "dial", "relay", "dns", "block", "close");

__attribute__((format(printf, 3, 4))) static void
session_log(const struct udp_session *s, enum log_level level, const char *format, ...)
{
	char source[ADDR_STRLEN], destination[ADDR_STRLEN], text[512];
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_write(level, "udp", "#%llu %s -> %s %s: %s", (unsigned long long)s->id,
		  addr_format(&s->entry.source, source), addr_format(&s->destination, destination),
		  s->outbound ? s->outbound->tag : "-", text);
}

static struct timer_wheel *timers_of(const struct udp_session *s)
{
	return &s->worker->loop.timers;
}

/* The order matters: stop the work, then what knew it. */
void udp_session_end(struct udp_session *s, enum flow_end why)
{
	struct worker *w = s->worker;

	s->end = why;
	udp_pair_end(s);
	session_log(s, flow_end_level(why), "%s, up %llu down %llu datagrams", flow_end_names[why],
		    (unsigned long long)s->datagrams[CLIENT],
		    (unsigned long long)s->datagrams[UPSTREAM]);
	w->udp.stats.ended[why]++;
	dial_cancel(s->dial, true);
	timer_stop(&s->timer, timers_of(s));
	packet_close(s->way);
	udp_dns_stop(s);
	trace_deinit(&s->trace);
	decide_free(s->decide);
	udp_held_deinit(&s->held);
	free(s->domain);
	udp_table_remove(&w->udp.table, &s->entry);
	list_unlink(&s->link);
	mem_pool_put(&w->udp.pool, s);
}

static void on_idle(struct timer *timer)
{
	struct udp_session *s = container_of(timer, struct udp_session, timer);
	uint64_t now = s->worker->loop.now_ms, quiet;
	uint32_t left, look;

	(void)udp_pair_was_used(s);
	quiet = now > s->used_ms ? now - s->used_ms : 0;
	if (quiet >= s->timeout_ms) {
		udp_session_end(s, END_IDLE);
		return;
	}
	left = s->timeout_ms - (uint32_t)quiet;
	look = udp_pair_look(s);
	timer_start(&s->timer, timers_of(s), left < look ? left : look);
}

/* From here on the session lives until it is quiet for @timeout_ms. */
static void begin_idle(struct udp_session *s, enum udp_state state, uint32_t timeout_ms)
{
	s->state = state;
	s->timeout_ms = timeout_ms;
	timer_stop(&s->timer, timers_of(s));
	timer_init(&s->timer, on_idle);
	timer_start(&s->timer, timers_of(s), timeout_ms);
}

static void bind_to_first(struct udp_session *s)
{
	udp_table_bind(&s->worker->udp.table, &s->entry, &s->destination);
}

static void block(struct udp_session *s, bool silent)
{
	s->silent = silent;
	bind_to_first(s);
	decide_free(s->decide);
	s->decide = NULL;
	begin_idle(s, UDP_BLOCK, BLOCK_MS);
	udp_carry_held(s, END_NONE);
}

/* Nothing goes there now; the next datagram tries again. */
static void fail(struct udp_session *s, enum flow_end why)
{
	bind_to_first(s);
	s->state = UDP_BLOCK;
	udp_carry_held(s, why);
}

/* What carries no UDP will not carry it the next moment either. */
static void dial_failed(struct udp_session *s, int err, const char *call)
{
	char tried[384];

	session_log(s, LOG_INFO, "dial failed: %s: %s%s%s", call ? call : "dial", strerror(-err),
		    s->trace.count ? "; " : "", trace_format(&s->trace, tried, sizeof(tried)));
	if (err == -EPROTONOSUPPORT) {
		block(s, false);
		return;
	}
	fail(s, err == -ETIMEDOUT ? END_DIAL_TIMEOUT : END_DIAL_FAILED);
}

/* Of a name that a proxy has looked up: as long as the client asked nobody else, who answers is the one. */
static void learn_peer(struct udp_session *s, const struct addr *source)
{
	if (s->way->peer.family == AF_UNSPEC && !s->has_others)
		s->way->peer = *source;
}

/* Whose answer the client is to see: its own destination, if a name or a rule led elsewhere. Of an address of
 * the other family it cannot be told. */
static const struct addr *answers_as(const struct udp_session *s, const struct addr *source)
{
	bool mapped = !s->unmapped || source->family != s->entry.source.family;

	if (source->family == AF_UNSPEC || (mapped && addr_equal(source, &s->way->peer)))
		return &s->destination;
	return source;
}

static void on_answers(struct udp_session *s, const struct datagram *list, unsigned count)
{
	unsigned run;

	s->used_ms = s->worker->loop.now_ms;
	udp_table_use(&s->worker->udp.table, &s->entry, true);
	if (count)
		learn_peer(s, &list[0].source);
	for (unsigned i = 0; i < count; i += run) {
		for (run = 1; i + run < count; run++)
			if (!addr_equal(&list[i].source, &list[i + run].source))
				break;
		udp_answer(s, answers_as(s, &list[i].source), list + i, run);
	}
	udp_pair_answered(s);
}

/* One batch a turn: it stays ready while there is more. */
static void on_ready(void *owner)
{
	struct udp_session *s = owner;
	const struct datagram *list;
	int n = packet_receive(s->way, s->worker->udp.batch, &list);

	if (n >= 0) {
		on_answers(s, list, (unsigned)n);
		return;
	}
	if (n == -EAGAIN)
		return;
	session_log(s, LOG_INFO, "%s: %s", s->way->call ? s->way->call : "receive", strerror(-n));
	if (n == -ECONNREFUSED)
		udp_tell_unreachable(s->worker, &s->entry.source, &s->destination, NULL, 0);
	udp_session_end(s, n == -ECONNREFUSED ? END_UNREACHABLE : END_UPSTREAM_RESET);
}

void udp_session_relay(struct udp_session *s, struct packet_way *way, uint32_t timeout_ms)
{
	s->way = way;
	s->used_ms = s->worker->loop.now_ms;
	begin_idle(s, UDP_RELAY, timeout_ms);
	if (way->bound)
		bind_to_first(s);
	packet_listen(way, on_ready, s);
}

static void open_relay(struct udp_session *s, struct packet_way *way)
{
	const struct route_options *options = s->decide ? &decide_verdict(s->decide)->options
							: NULL;
	uint32_t timeout_ms = udp_timeout_ms(options, s->protocol, s->destination.port,
					     s->inbound->udp_timeout_ms);

	s->unmapped = options && options->udp_disable_domain_unmapping;
	decide_free(s->decide);
	s->decide = NULL;
	udp_session_relay(s, way, timeout_ms);
	udp_carry_held(s, END_NONE);
}

static void on_dialed(void *owner, const struct dial_result *result)
{
	struct udp_session *s = owner;

	s->dial = NULL;
	if (result->err) {
		s->worker->stats.dial_failures++;
		dial_failed(s, result->err, result->call);
		return;
	}
	open_relay(s, result->packet);
}

static void on_dial_timeout(struct timer *timer)
{
	dial_failed(container_of(timer, struct udp_session, timer), -ETIMEDOUT, "dial_timeout");
}

static void begin_dial(struct udp_session *s)
{
	struct dial_request request = { .env = &s->worker->dial_env,
					.type = SOCK_DGRAM,
					.target = decide_target(s->decide, &s->outbound->override,
								&s->destination),
					.source = s->entry.source,
					.original = s->destination,
					.trace = &s->trace,
					.done = on_dialed,
					.owner = s };
	const char *call;
	int r;

	if (s->decide) {
		const struct route_options *options = &decide_verdict(s->decide)->options;

		request.strategy = decide_strategy(s->decide);
		request.one_peer = options->udp_connect;
		if (options->has_fallback_delay)
			request.fallback_delay_ms = &options->fallback_delay_ms;
	}
	s->state = UDP_DIAL;
	trace_init(&s->trace, s->worker->loop.now_ms);
	r = dial_start(&s->dial, s->outbound->dialer, &request, &call);
	if (r) {
		s->worker->stats.dial_failures++;
		dial_failed(s, r, call);
		return;
	}
	timer_init(&s->timer, on_dial_timeout);
	timer_start(&s->timer, timers_of(s), s->outbound->dial_timeout_ms);
}

static void begin_dns(struct udp_session *s)
{
	bind_to_first(s);
	begin_idle(s, UDP_DNS, udp_timeout_ms(NULL, PROTOCOL_DNS, 0, 0));
	udp_carry_held(s, END_NONE);
}

static void act(struct udp_session *s)
{
	const struct route_verdict *verdict = decide_verdict(s->decide);
	const struct sniff *sniff = decide_sniffed(s->decide);

	s->rule = verdict->config ? verdict->rule : CONFIG_NONE;
	s->protocol = sniff->protocol;
	if (sniff->domain[0])
		s->domain = strdup(sniff->domain); /* for people only */
	if (verdict->action == ACTION_ROUTE)
		s->outbound = &s->worker->config->outbounds[verdict->outbound];
	if (verdict->action == ACTION_HIJACK_DNS)
		begin_dns(s);
	else if (s->outbound && s->outbound->dialer)
		begin_dial(s);
	else /* the final outbound may be a block, and no rule's */
		block(s, verdict->config && verdict->config->reject == REJECT_DROP);
}

static void unresolved(struct udp_session *s)
{
	const char *name, *why = decide_unresolved(s->decide, &name);

	session_log(s, LOG_INFO, "unresolved: %s: %s", name, why);
	fail(s, END_UNRESOLVED);
}

static void run_rules(void *owner)
{
	struct udp_session *s = owner;

	switch (decide_run(s->decide)) {
	case DECIDE_UNRESOLVED:
		unresolved(s);
		break;
	case DECIDE_DONE:
		act(s);
		break;
	case DECIDE_GONE: /* not of datagrams */
	case DECIDE_WAIT:
	default:
		break;
	}
}

static void on_sniff_timeout(struct timer *timer)
{
	struct udp_session *s = container_of(timer, struct udp_session, timer);

	decide_time_up(s->decide);
	run_rules(s);
}

/* -ENOMEM */
static int begin_route(struct udp_session *s, const struct datagram *first)
{
	const struct decide_request request = { .worker = s->worker,
						.inbound = s->inbound,
						.held = &s->held,
						.interface = first->interface,
						.dscp = first->dscp,
						.source = s->entry.source,
						.destination = s->destination,
						.timer = &s->timer,
						.wake = run_rules,
						.owner = s };

	if (s->worker->config->rules)
		return decide_new(&s->decide, &request);
	s->outbound = s->worker->config->final;
	return 0;
}

struct udp_session *udp_session_make(struct worker *w, const struct inbound *inbound,
				     const struct addr *source, const struct addr *destination)
{
	struct udp *udp = &w->udp;
	struct udp_session *s;

	s = mem_pool_get(&udp->pool);
	if (!s)
		return NULL;
	*s = (struct udp_session){ .entry.source = *source,
				   .worker = w,
				   .start_ms = w->loop.now_ms,
				   .inbound = inbound,
				   .destination = *destination,
				   .rule = CONFIG_NONE };
	list_init(&s->link);
	list_init(&s->questions);
	udp_held_init(&s->held, &w->relay_env.memory);
	timer_init(&s->timer, on_sniff_timeout);
	if (udp_table_add(&udp->table, &s->entry)) {
		mem_pool_put(&udp->pool, s);
		return NULL;
	}
	list_append(&udp->sessions, &s->link);
	return s;
}

struct udp_session *udp_session_new(struct worker *w, const struct inbound *inbound,
				    const struct datagram *first)
{
	struct udp_session *s = udp_session_make(w, inbound, &first->source, &first->destination);

	if (!s)
		return NULL;
	s->id = w->next_id;
	w->next_id += w->config->workers; /* unique over all workers, as those of flows */
	w->udp.stats.sessions++;
	if (begin_route(s, first)) {
		udp_session_end(s, END_NO_MEMORY);
		return NULL;
	}
	return s;
}

static void hold(struct udp_session *s, const struct datagram *list, unsigned count)
{
	unsigned lost = 0;

	for (unsigned i = 0; i < count; i++)
		lost += udp_held_put(&s->held, &list[i]);
	if (lost)
		udp_dropped(s, UDP_DROP_HELD, lost);
	if (s->state != UDP_ROUTE)
		return;
	if (s->decide)
		run_rules(s);
	else if (s->outbound->dialer)
		begin_dial(s);
	else
		block(s, false);
}

void udp_session_take(struct udp_session *s, const struct datagram *list, unsigned count)
{
	s->used_ms = s->worker->loop.now_ms;
	udp_table_use(&s->worker->udp.table, &s->entry, false);
	for (unsigned i = 0; i < count; i++) {
		unsigned pieces = datagram_count(&list[i]);

		s->datagrams[CLIENT] += pieces;
		s->bytes[CLIENT] += list[i].len;
		s->worker->udp.stats.datagrams[CLIENT] += pieces;
		s->worker->udp.stats.bytes[CLIENT] += list[i].len;
	}
	if (s->state == UDP_ROUTE || s->state == UDP_DIAL)
		hold(s, list, count); /* @s may be gone */
	else
		udp_carry(s, list, count);
}
