#include "dial/interfaces.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "kern/interfaces.h"
#include "kern/route.h"

/* After a fallback has won, primaries get no head start for as long as a client commonly waits for a
 * connect (15 s; the value of sing-box, where it is the TCP timeout): connections that follow each other
 * do not all pay for the same broken uplink. Then one tries again, and pays. */
#define FAST_FALLBACK_MS 15000

struct interfaces_dial;

struct attempt {
	struct interfaces_dial *parent;
	struct dial *child; /* NULL: not begun, or over */
};

struct interfaces_dial {
	struct dial base;
	struct timer delay; /* until the fallbacks begin */
	struct strategy_plan plan;
	int route; /* the interface that the routes lead to, 0: it was not needed */
	struct attempt attempts[STRATEGY_MAX]; /* in the order of the plan */
	unsigned begun, running;
	bool together; /* a fallback won lately */
	bool failed;   /* one of them */
	int err;       /* of the first, if it failed */
};

static const struct interfaces_dialer *dialer_of(const struct dial *dial)
{
	return container_of(dial->dialer, const struct interfaces_dialer, base);
}

static void cancel_attempts(struct interfaces_dial *d, bool reset)
{
	timer_stop(&d->delay, &d->base.request.env->loop->timers);
	for (unsigned i = 0; i < d->begun; i++) {
		dial_cancel(d->attempts[i].child, reset);
		d->attempts[i].child = NULL;
	}
}

static void note_failure(struct interfaces_dial *d, const struct attempt *attempt, int err,
			 const char *call)
{
	d->failed = true;
	if (attempt != d->attempts)
		return;
	d->err = err;
	d->base.call = call;
}

static void on_done(void *owner, const struct dial_result *result);

/* Where the routes lead anyway nothing is bound: a bound socket takes no answers that come back by another
 * interface, finds no address of our own, and cannot follow the route when it moves. */
static void begin_one(struct interfaces_dial *d)
{
	struct attempt *attempt = &d->attempts[d->begun];
	struct dial_request request = d->base.request;
	const struct netif *netif = netif_by_index(request.env->interfaces,
						   d->plan.interfaces[d->begun++]);
	const char *call = "the interface is gone";
	int r = -ENODEV;

	attempt->parent = d;
	request.interface = netif;
	request.unbound = netif && netif->index == d->route;
	request.done = on_done;
	request.owner = attempt;
	if (netif)
		r = dial_start(&attempt->child, dialer_of(&d->base)->via, &request, &call);
	if (r)
		note_failure(d, attempt, r, call);
	else
		d->running++;
}

static bool is_udp(const struct interfaces_dial *d)
{
	return d->base.request.type == SOCK_DGRAM;
}

/* The fallbacks wait for their time only while every primary may still make it. Datagrams are answered by
 * nobody here: the first that has a route is the one, and nothing runs beside it. */
static void begin_due(struct interfaces_dial *d)
{
	while (is_udp(d) && !d->running && d->begun < d->plan.count)
		begin_one(d);
	if (is_udp(d))
		return;
	while (d->begun < d->plan.primaries)
		begin_one(d);
	if (!d->together && !d->failed && d->plan.primaries)
		return;
	while (d->begun < d->plan.count)
		begin_one(d);
}

/* Written seldom: all workers read it. */
static void learn(const struct interfaces_dial *d, const struct attempt *winner)
{
	_Atomic uint64_t *won_ms = &dialer_of(&d->base)->memory->fallback_won_ms;
	bool primary = winner < d->attempts + d->plan.primaries;

	if (primary && atomic_load_explicit(won_ms, memory_order_relaxed))
		atomic_store_explicit(won_ms, 0, memory_order_relaxed);
	/* A fallback that won a race without a head start has proved nothing: it may just be the
	 * faster one, and the primaries would never be first again. */
	if (!primary && !d->together)
		atomic_store_explicit(won_ms, d->base.request.env->loop->now_ms,
				      memory_order_relaxed);
}

static void on_done(void *owner, const struct dial_result *result)
{
	struct attempt *attempt = owner;
	struct interfaces_dial *d = attempt->parent;

	attempt->child = NULL;
	d->running--;
	if (!result->err) {
		if (!is_udp(d)) /* else it has proved nothing */
			learn(d, attempt);
		cancel_attempts(d, true);
		dial_finish(&d->base, result);
		return;
	}
	note_failure(d, attempt, result->err, result->call);
	begin_due(d);
	if (!d->running)
		dial_finish(&d->base, &(struct dial_result){ .err = d->err, .call = d->base.call });
}

/* Not the end, whatever comes of them: had no primary been left, they would have begun earlier. */
static void on_delay(struct timer *timer)
{
	struct interfaces_dial *d = container_of(timer, struct interfaces_dial, delay);

	while (d->begun < d->plan.count)
		begin_one(d);
	assert(d->running);
}

static bool reaches(void *owner, int interface)
{
	const struct dial *dial = owner;
	const struct route_question question = { .destination = dial->request.target.addr,
						 .mark = dialer_of(dial)->routing_mark,
						 .interface = interface };
	struct route_answer found;

	return !route_ask(dial->request.env->routes, &question, &found);
}

/* Who is connected to the destination is the kernel's to say: asked for each interface, it knows metrics
 * and policy rules, and finds no route by the LAN ports. */
static void make_plan(struct interfaces_dial *d)
{
	const struct dial_request *request = &d->base.request;
	const struct interfaces_dialer *self = dialer_of(&d->base);
	const struct strategy *strategy = request->strategy ? request->strategy : &self->strategy;
	const struct route_question question = { .destination = request->target.addr,
						 .mark = self->routing_mark };
	struct route_answer answer;

	if (request->interface) {
		d->plan = (struct strategy_plan){ .interfaces = { request->interface->index },
						  .primaries = 1,
						  .count = 1 };
		return;
	}
	d->route =
		strategy_needs_default(strategy) && !route_ask(request->env->routes, &question, &answer) ? answer.interface : 0;
	strategy_plan(strategy, request->env->interfaces, d->route, reaches, &d->base, &d->plan);
}

/* Another worker's clock may be a turn of the loop ahead of ours. */
static bool fallback_won_lately(const struct dial *dial)
{
	uint64_t won_ms = atomic_load_explicit(&dialer_of(dial)->memory->fallback_won_ms,
					       memory_order_relaxed);

	return won_ms && dial->request.env->loop->now_ms < won_ms + FAST_FALLBACK_MS;
}

static int interfaces_start(struct dial *dial)
{
	struct interfaces_dial *d = container_of(dial, struct interfaces_dial, base);

	assert(dial->request.target.addr.family != AF_UNSPEC);
	timer_init(&d->delay, on_delay);
	make_plan(d);
	dial->call = "no interface for the network strategy";
	if (!d->plan.count)
		return -ENETUNREACH;
	d->together = fallback_won_lately(dial);
	begin_due(d);
	if (!d->running)
		return d->err;
	if (d->begun < d->plan.count && !is_udp(d))
		timer_start(&d->delay, &dial->request.env->loop->timers,
			    dial->request.fallback_delay_ms ? *dial->request.fallback_delay_ms
							    : dialer_of(dial)->fallback_delay_ms);
	return 0;
}

static void interfaces_cancel(struct dial *dial, bool reset)
{
	cancel_attempts(container_of(dial, struct interfaces_dial, base), reset);
}

static const struct dialer *interfaces_skip(const struct dialer *dialer,
					    const struct dial_request *request)
{
	const struct interfaces_dialer *self = container_of(dialer, const struct interfaces_dialer,
							    base);

	return self->always || request->strategy ? dialer : self->via;
}

struct whole {
	struct interfaces_dialer dialer;
	struct interfaces_memory memory;
};

struct interfaces_dialer *interfaces_dialer_new(void)
{
	struct whole *whole = calloc(1, sizeof(*whole));

	if (!whole)
		return NULL;
	whole->dialer.base.ops = &dial_interfaces_ops;
	whole->dialer.memory = &whole->memory;
	return &whole->dialer;
}

static void interfaces_free(struct dialer *dialer)
{
	free(container_of(dialer, struct whole, dialer.base));
}

const struct dialer_ops dial_interfaces_ops = {
	.name = "interfaces",
	.dial_size = sizeof(struct interfaces_dial),
	.start = interfaces_start,
	.cancel = interfaces_cancel,
	.skip = interfaces_skip,
	.free = interfaces_free,
};
