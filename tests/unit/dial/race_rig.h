/* race_rig - a race between a resolver and a dialer that do as a script says, on a clock of its own. Defines
 * trace_begin() and trace_end() as well; one test includes it, once. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "dial/race.h"
#include "fake_resolver.h"

#define PORT  1514
#define AGES  20000 /* ms; every race is over then */
#define HANGS UINT32_MAX

/* What becomes of an attempt. */
struct fate {
	int refuse;        /* start() says this, if it is not 0 */
	uint32_t after_ms; /* then the end; HANGS: never */
	int err;
};

struct rig {
	struct loop loop;
	struct resolver resolver;
	struct dial_env env;
	struct race_dialer *race;
	struct dialer via;
	struct fate fate[DNS_TYPE_COUNT][3]; /* by number of the address */
	uint64_t begin_ms;
	char starts[256]; /* "6.1@0 4.1@300 " */
	unsigned running, cancelled, reset, finished;
	struct dial *dial;
	unsigned done;
	struct dial_result result;
	struct loop_io io; /* taken by @done */
	bool leave_io;     /* @done takes nothing */
	struct trace trace;
	char traced[256]; /* "AAAA@0 A@0 A=ok@10 " */
	int open_entries;
};

static struct rig *rig; /* of the test that runs */

static unsigned long long now(void)
{
	return rig->loop.now_ms - rig->begin_ms;
}

__attribute__((format(printf, 2, 3))) static void append(char (*text)[256], const char *format, ...)
{
	size_t used = strlen(*text);
	va_list args;

	va_start(args, format);
	vsnprintf(*text + used, sizeof(*text) - used, format, args);
	va_end(args);
}

int trace_begin(struct trace *trace, enum trace_step step, const struct addr *addr,
		const char *interface, uint64_t now_ms)
{
	assert_ptr_equal(trace, &rig->trace);
	assert_int_equal(now_ms, rig->loop.now_ms);
	assert_true(step == TRACE_A || step == TRACE_AAAA);
	append(&rig->traced, "%s@%llu ", step == TRACE_A ? "A" : "AAAA", now());
	rig->open_entries++;
	return step == TRACE_A ? 7 : 8;
}

void trace_end(struct trace *trace, int attempt, int err, const char *why, uint64_t now_ms)
{
	assert_ptr_equal(trace, &rig->trace);
	assert_int_equal(now_ms, rig->loop.now_ms);
	assert_true(attempt == 7 || attempt == 8);
	append(&rig->traced, "%s=%d,%s@%llu ", attempt == 7 ? "A" : "AAAA", err, why ? why : "-",
	       now());
	rig->open_entries--;
}

/* The dialer below the race */

struct child {
	struct dial base;
	struct timer timer;
	struct loop_io io;
	int peer, err;
	bool finished;
};

static void child_cancel(struct dial *dial, bool reset)
{
	struct child *child = container_of(dial, struct child, base);

	if (!child->finished) { /* dial_finish() comes here as well */
		rig->cancelled++;
		rig->reset += reset;
	}
	timer_stop(&child->timer, &rig->loop.timers);
	loop_io_close(&child->io);
	if (child->peer >= 0)
		close(child->peer);
	rig->running--;
}

static void never(struct loop_io *io)
{
	fail();
}

static void on_child_timer(struct timer *timer)
{
	struct child *child = container_of(timer, struct child, timer);
	struct dial_result result = { .err = child->err, .call = child->err ? "connect" : NULL };
	int fd[2];

	if (!child->err) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
		assert_int_equal(loop_io_init(&child->io, &rig->loop, fd[0], never), 0);
		child->peer = fd[1];
		result.io = &child->io;
		result.owes_write = true;
	}
	child->finished = true;
	rig->finished++;
	dial_finish(&child->base, &result);
}

static int child_start(struct dial *dial)
{
	struct child *child = container_of(dial, struct child, base);
	const struct dial_request *request = &dial->request;
	enum dns_type type = request->target.addr.family == AF_INET ? DNS_A : DNS_AAAA;
	unsigned number = type == DNS_A ? ntohl(request->target.addr.v4.s_addr) & 0xff
					: request->target.addr.v6.s6_addr[15];
	const struct fate *fate = &rig->fate[type][number - 1];

	append(&rig->starts, "%d.%u@%llu ", type == DNS_A ? 4 : 6, number, now());
	assert_null(request->target.domain);
	assert_int_equal(request->target.addr.port, PORT);
	assert_ptr_equal(request->env, &rig->env);
	assert_ptr_equal(request->trace, &rig->trace);
	assert_ptr_equal(request->interface, (const struct netif *)rig);
	assert_int_equal(request->source.port, 4321);
	dial->call = "socket";
	if (fate->refuse)
		return fate->refuse;
	child->io = (struct loop_io)LOOP_IO_NULL;
	child->peer = -1;
	child->err = fate->err;
	timer_init(&child->timer, on_child_timer);
	if (fate->after_ms != HANGS)
		timer_start(&child->timer, &rig->loop.timers, fate->after_ms - 1);
	rig->running++;
	return 0;
}

static const struct dialer_ops child_ops = {
	.name = "child",
	.dial_size = sizeof(struct child),
	.start = child_start,
	.cancel = child_cancel,
};

/* The owner of the race */

static void on_done(void *owner, const struct dial_result *result)
{
	assert_ptr_equal(owner, rig);
	assert_int_equal(++rig->done, 1);
	assert_int_equal(rig->running,
			 result->err ? rig->running : 1); /* the winner alone is left */
	assert_int_equal(rig->open_entries, 0);
	assert_int_equal(rig->resolver.pending, 0);
	rig->result = *result;
	rig->dial = NULL;
	if (!result->err && !rig->leave_io)
		assert_int_equal(loop_io_move(&rig->io, result->io, never), 0);
}

static int start(const char **ret_call)
{
	const struct dial_request request = { .env = &rig->env,
					      .target = { .domain = "both.test",
							  .addr.port = PORT },
					      .source = { .family = AF_INET, .port = 4321 },
					      .interface = (const struct netif *)rig,
					      .trace = &rig->trace,
					      .done = on_done,
					      .owner = rig };

	return dial_start(&rig->dial, &rig->race->base, &request, ret_call);
}

static void pass(unsigned ms)
{
	while (ms--) {
		rig->loop.now_ms++;
		timer_wheel_advance(&rig->loop.timers, rig->loop.now_ms);
	}
}

static void run(void)
{
	const char *call;

	assert_int_equal(start(&call), 0);
	assert_int_equal(rig->done, 0);
	pass(AGES);
	assert_int_equal(rig->done, 1);
}

static int setup(void **state)
{
	rig = calloc(1, sizeof(*rig));
	if (!rig || loop_init(&rig->loop))
		return -1;
	rig->begin_ms = rig->loop.now_ms;
	rig->io = (struct loop_io)LOOP_IO_NULL;
	rig->via.ops = &child_ops;
	rig->race = calloc(1, sizeof(*rig->race));
	*rig->race = (struct race_dialer){ .base.ops = &dial_race_ops,
					   .via = &rig->via,
					   .server = 3,
					   .strategy = STRATEGY_PREFER_IPV6,
					   .attempt_delay_ms = 250,
					   .fallback_delay_ms = 300,
					   .resolution_delay_ms = 50 };
	rig->resolver.loop = &rig->loop;
	rig->env = (struct dial_env){ .loop = &rig->loop, .resolver = &rig->resolver };
	for (int type = 0; type < DNS_TYPE_COUNT; type++) {
		rig->resolver.script[type] = (struct fake_answer){ .delay_ms = 10, .count = 2 };
		for (int i = 0; i < 3; i++)
			rig->fate[type][i] = (struct fate){ .after_ms = 20 };
	}
	return 0;
}

/* Whatever happened: nothing runs, nothing is asked, nothing is open. */
static int teardown(void **state)
{
	loop_io_close(&rig->io);
	assert_int_equal(rig->running, 0);
	assert_int_equal(rig->open_entries, 0);
	assert_int_equal(rig->resolver.pending, 0);
	assert_true(timer_wheel_empty(&rig->loop.timers));
	assert_int_equal(rig->loop.io_count, 0);
	rig->race->base.ops->free(&rig->race->base);
	loop_deinit(&rig->loop);
	free(rig);
	return 0;
}
