/* bench - the dialer of a network strategy above a dialer that does as it is told, by interface; time is
 * the test's. */
#pragma once
#include "dial/interfaces.h"
#include "uplinks.h"
#include <sys/eventfd.h>
#include <unistd.h>

#define DELAY_MS 300
#define FAST_MS  15000
#define MARK     1514
#define NEVER    UINT64_MAX

/* What becomes of an attempt by an interface. */
struct fate {
	int err;
	uint32_t after_ms;
	bool at_once; /* from start() */
};
static const struct fate UP = { 0, 10, false }, UP_TOO = { 0, 20, false },
			 SLOW = { 0, 1000, false }, DEAD = { -ETIMEDOUT, 2000, false },
			 REFUSED = { -ECONNREFUSED, 10, false }, BROKEN = { -EPERM, 0, true };

struct bench {
	struct loop loop;
	struct dial_env env;
	struct trace trace;
	struct route_socket routes;
	struct netif interfaces[ROUTER_COUNT];
	struct netif_list list;
	struct dialer via;
	struct interfaces_dialer *dialer;
	struct fate fates[ROUTER_COUNT + 1];
	int default_interface;
	/* What was seen of the last dial */
	uint64_t began_ms, started_ms[ROUTER_COUNT + 1], done_ms;
	unsigned live, starts, done, live_when_done, reset;
	int winner, err;
	const char *call;
	struct loop_io won;
	bool take; /* the socket */
	int type;  /* of the dial */
	struct dial *dial;
	int start_result;
};

static struct bench *bench; /* for the fakes */

int route_ask(struct route_socket *socket, const struct route_question *question,
	      struct route_answer *ret)
{
	assert_ptr_equal(socket, &bench->routes);
	assert_int_equal(question->destination.family, AF_INET6);
	assert_int_equal(question->mark, MARK);
	if (question->interface == LAN || (!question->interface && !bench->default_interface))
		return -ENETUNREACH;
	*ret = (struct route_answer){
		.interface = question->interface ? question->interface : bench->default_interface
	};
	return 0;
}

struct fake_dial {
	struct dial base;
	struct loop_io io;
	struct timer timer;
};

/* Not bound: by loopback. */
static inline int fate_of(const struct dial *dial, struct fate *ret)
{
	const struct netif *netif = dial->request.interface;
	int interface = netif ? netif->index : LO;

	/* To where the routes lead nothing is bound, and nothing else is free of it. */
	assert_int_equal(dial->request.unbound,
			 netif && netif->index == bench->default_interface &&
				 strategy_needs_default(&bench->dialer->strategy));
	assert_true(!netif || !netif->loopback || dial->request.unbound);
	*ret = bench->fates[interface];
	return interface;
}

static inline void on_fate(struct timer *timer)
{
	struct fake_dial *d = container_of(timer, struct fake_dial, timer);
	struct dial_result result = { 0 };
	struct fate fate;
	int interface = fate_of(&d->base, &fate);

	result.err = fate.err;
	result.call = fate.err ? "connect" : NULL;
	if (!fate.err) {
		result.io = &d->io;
		bench->winner = interface;
	}
	dial_finish(&d->base, &result);
}

static inline int fake_start(struct dial *dial)
{
	struct fake_dial *d = container_of(dial, struct fake_dial, base);
	struct fate fate;
	int interface = fate_of(dial, &fate), fd;

	assert_ptr_equal(dial->request.env, &bench->env);
	assert_ptr_equal(dial->request.trace, &bench->trace);
	assert_int_equal(dial->request.source.port, 4321);
	assert_int_equal(dial->request.target.addr.port, 80);
	assert_int_equal(dial->request.type, bench->type);
	assert_true(bench->started_ms[interface] == NEVER);
	bench->started_ms[interface] = bench->loop.now_ms - bench->began_ms;
	bench->starts++;
	dial->call = "setsockopt";
	if (fate.at_once)
		return fate.err;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(fd >= 0);
	assert_int_equal(loop_io_init(&d->io, &bench->loop, fd, NULL), 0);
	timer_init(&d->timer, on_fate);
	timer_start(&d->timer, &bench->loop.timers, fate.after_ms);
	bench->live++;
	return 0;
}

static inline void fake_cancel(struct dial *dial, bool reset)
{
	struct fake_dial *d = container_of(dial, struct fake_dial, base);

	bench->reset += timer_running(&d->timer) && reset;
	timer_stop(&d->timer, &bench->loop.timers);
	loop_io_close(&d->io);
	bench->live--;
}

static const struct dialer_ops fake_ops = {
	.name = "fake",
	.dial_size = sizeof(struct fake_dial),
	.start = fake_start,
	.cancel = fake_cancel,
};

static inline void on_done(void *owner, const struct dial_result *result)
{
	assert_ptr_equal(owner, bench);
	bench->dial = NULL;
	bench->done++;
	bench->done_ms = bench->loop.now_ms - bench->began_ms;
	bench->live_when_done = bench->live;
	bench->err = result->err;
	bench->call = result->call;
	assert_int_equal(!result->err, result->io != NULL);
	if (result->io && bench->take)
		assert_int_equal(loop_io_move(&bench->won, result->io, NULL), 0);
}

static inline void begin_from(const struct netif *interface)
{
	struct dial_request request = { .env = &bench->env,
					.type = bench->type,
					.interface = interface,
					.trace = &bench->trace,
					.source = { .family = AF_INET6, .port = 4321 },
					.target.addr = { .family = AF_INET6, .port = 80 },
					.done = on_done,
					.owner = bench };

	bench->began_ms = bench->loop.now_ms;
	bench->starts = bench->done = bench->reset = 0;
	bench->winner = bench->err = 0;
	bench->call = NULL;
	for (int i = 0; i <= ROUTER_COUNT; i++)
		bench->started_ms[i] = NEVER;
	bench->start_result = dial_start(&bench->dial, &bench->dialer->base, &request,
					 &bench->call);
	assert_int_equal(bench->done, 0);
}

static inline void begin(void)
{
	begin_from(NULL);
}

static inline void pass(uint64_t ms)
{
	while (ms--)
		timer_wheel_advance(&bench->loop.timers, ++bench->loop.now_ms);
}

/* Until it is over, and all of it. */
static inline void finish(void)
{
	for (int i = 0; i < 5000 && !bench->done; i++)
		pass(1);
	assert_int_equal(bench->done, 1);
	pass(3000);
	assert_int_equal(bench->done, 1);
	assert_int_equal(bench->live, 0);
	assert_true(timer_wheel_empty(&bench->loop.timers));
	loop_io_close(&bench->won);
	assert_int_equal(bench->loop.io_count, 0);
}

/* A millisecond is lost by every timer, never gained. */
static inline void expect_about(uint64_t ms, uint64_t expected, const char *what, const char *name)
{
	if (expected == NEVER ? ms != NEVER : ms < expected || ms > expected + 3)
		fail_msg("%s: %s at %" PRIu64 " ms, not %" PRIu64, name, what, ms, expected);
}

static inline int setup(void **state)
{
	bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	assert_int_equal(loop_init(&bench->loop), 0);
	make_router(bench->interfaces);
	bench->list = (struct netif_list){ .count = ROUTER_COUNT, .list = bench->interfaces };
	bench->env = (struct dial_env){ .loop = &bench->loop,
					.interfaces = &bench->list,
					.routes = &bench->routes };
	bench->via.ops = &fake_ops;
	bench->won = (struct loop_io)LOOP_IO_NULL;
	bench->take = true;
	bench->default_interface = WAN;
	bench->dialer = interfaces_dialer_new();
	assert_non_null(bench->dialer);
	bench->dialer->via = &bench->via;
	bench->dialer->always = true;
	bench->dialer->strategy.kind = NETWORK_FALLBACK;
	bench->dialer->strategy.fallback_types = BIT(TYPE_CELLULAR);
	bench->dialer->fallback_delay_ms = DELAY_MS;
	bench->dialer->routing_mark = MARK;
	bench->fates[WAN] = UP;
	bench->fates[LTE] = UP_TOO;
	bench->fates[WIFI] = DEAD;
	return 0;
}

static inline int teardown(void **state)
{
	bench->dialer->base.ops->free(&bench->dialer->base);
	loop_deinit(&bench->loop);
	free(bench);
	return 0;
}

static inline void forget(void)
{
	bench->dialer->memory->fallback_won_ms = 0;
}

static inline bool remembers(void)
{
	return bench->dialer->memory->fallback_won_ms;
}
