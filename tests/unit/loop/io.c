/* What a loop tells the owners of descriptors, and what they may do in its callbacks. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/clock.h"
#include "loop/loop.h"

/* A socket on the loop, and the other end of it. */
struct peer {
	struct loop_io io;
	int other;
	int calls;
	struct peer *victim; /* of its callback */
};

static int setup(void **state)
{
	struct loop *loop = malloc(sizeof(*loop));

	assert_non_null(loop);
	assert_int_equal(loop_init(loop), 0);
	*state = loop;
	return 0;
}

static int teardown(void **state)
{
	loop_deinit(*state);
	free(*state);
	return 0;
}

static struct peer *peer_new(struct loop *loop, loop_io_fn *fn)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	int fd[2];

	assert_non_null(peer);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(loop_io_init(&peer->io, loop, fd[0], fn), 0);
	peer->other = fd[1];
	return peer;
}

static void peer_free(struct peer *peer)
{
	int fd = peer->io.fd;

	loop_io_deinit(&peer->io);
	loop_io_deinit(&peer->io);
	if (fd >= 0)
		close(fd);
	if (peer->other >= 0)
		close(peer->other);
	free(peer);
}

static void make_readable(struct peer *peer)
{
	assert_int_equal(write(peer->other, "x", 1), 1);
}

static void turn(struct loop *loop)
{
	assert_int_equal(loop_run_once(loop, 0), 0);
}

static void on_count(struct loop_io *io)
{
	container_of(io, struct peer, io)->calls++;
}

static void test_ready_until_drained(void **state)
{
	struct loop *loop = *state;
	struct peer *p = peer_new(loop, on_count);
	char byte;

	turn(loop);
	assert_int_equal(p->calls, 0); /* nothing is wanted */
	loop_io_want(&p->io, EPOLLIN);
	turn(loop);
	assert_int_equal(p->calls, 0);
	make_readable(p);
	for (int i = 1; i <= 3; i++) { /* one edge, but told every turn */
		turn(loop);
		assert_int_equal(p->calls, i);
	}
	assert_int_equal(read(p->io.fd, &byte, 1), 1);
	loop_io_drained(&p->io, EPOLLIN);
	turn(loop);
	assert_int_equal(p->calls, 3);
	make_readable(p);
	turn(loop);
	assert_int_equal(p->calls, 4);
	peer_free(p);
}

static void test_unwanted_is_remembered(void **state)
{
	struct loop *loop = *state;
	struct peer *p = peer_new(loop, on_count);

	make_readable(p);
	turn(loop);
	assert_int_equal(p->calls, 0);
	assert_true(p->io.have & EPOLLIN);
	loop_io_want(&p->io, EPOLLIN); /* no new edge comes for it */
	turn(loop);
	assert_int_equal(p->calls, 1);
	loop_io_want(&p->io, 0);
	turn(loop);
	assert_int_equal(p->calls, 1);
	peer_free(p);
}

static void test_errors_are_always_wanted(void **state)
{
	struct loop *loop = *state;
	struct peer *p = peer_new(loop, on_count);

	loop_io_want(&p->io, 0);
	close(p->other);
	p->other = -1;
	turn(loop);
	assert_int_equal(p->calls, 1);
	assert_true(p->io.have & EPOLLHUP);
	peer_free(p);
}

static void on_kill(struct loop_io *io)
{
	struct peer *p = container_of(io, struct peer, io), *victim = p->victim;

	p->calls++;
	if (!victim)
		return;
	p->victim = NULL;
	victim->victim = NULL;
	peer_free(victim);
}

/* Both are ready in one batch, and whoever comes first frees the other. */
static void test_callback_frees_another_ready_object(void **state)
{
	struct loop *loop = *state;

	for (int i = 0; i < 2; i++) {
		struct peer *a = peer_new(loop, on_kill), *b = peer_new(loop, on_kill);
		struct peer *survivor;

		a->victim = b;
		b->victim = a;
		loop_io_want(&a->io, EPOLLIN);
		loop_io_want(&b->io, EPOLLIN);
		make_readable(i ? b : a);
		make_readable(i ? a : b);
		turn(loop);
		assert_int_equal(loop->io_count, 1);
		survivor = container_of(loop->ready.next, struct loop_io, ready) == &a->io ? a : b;
		assert_int_equal(survivor->calls, 1);
		peer_free(survivor);
	}
}

static void on_suicide(struct loop_io *io)
{
	peer_free(container_of(io, struct peer, io));
}

static void test_callback_frees_its_own(void **state)
{
	struct loop *loop = *state;

	for (int i = 0; i < 5; i++) {
		struct peer *p = peer_new(loop, on_suicide);

		loop_io_want(&p->io, EPOLLIN);
		make_readable(p);
	}
	turn(loop);
	assert_int_equal(loop->io_count, 0);
}

static void on_silence(struct loop_io *io)
{
	struct peer *p = container_of(io, struct peer, io);

	p->calls++;
	loop_io_want(&p->victim->io, 0);
}

static void test_callback_calms_another(void **state)
{
	struct loop *loop = *state;
	struct peer *a = peer_new(loop, on_silence), *b = peer_new(loop, on_silence);

	a->victim = b;
	b->victim = a;
	loop_io_want(&a->io, EPOLLIN);
	loop_io_want(&b->io, EPOLLIN);
	make_readable(a);
	make_readable(b);
	turn(loop);
	assert_int_equal(a->calls + b->calls, 1);
	peer_free(a);
	peer_free(b);
}

static void test_everyone_gets_a_turn(void **state)
{
	struct loop *loop = *state;
	struct peer *p[20];

	for (int i = 0; i < 20; i++) {
		p[i] = peer_new(loop, on_count);
		loop_io_want(&p[i]->io, EPOLLIN);
		make_readable(p[i]);
	}
	for (int round = 1; round <= 3; round++) {
		turn(loop);
		for (int i = 0; i < 20; i++)
			assert_int_equal(p[i]->calls, round);
	}
	for (int i = 0; i < 20; i++)
		peer_free(p[i]);
}

static void test_move_takes_the_readiness_along(void **state)
{
	struct loop *loop = *state;
	struct peer *from = peer_new(loop, on_suicide), *to = calloc(1, sizeof(*to));

	assert_non_null(to);
	make_readable(from);
	turn(loop); /* fetched, told nobody */
	assert_int_equal(loop_io_move(&to->io, &from->io, on_count), 0);
	to->other = from->other;
	from->other = -1;
	assert_null(from->io.loop);
	assert_int_equal(loop->io_count, 1);
	loop_io_want(&to->io, EPOLLIN);
	turn(loop);
	assert_int_equal(to->calls, 1);
	peer_free(from);
	peer_free(to);
}

static void test_mask(void **state)
{
	struct loop *loop = *state;
	struct peer *p = peer_new(loop, on_count);

	loop_io_want(&p->io, EPOLLIN | EPOLLOUT);
	assert_int_equal(loop_io_mask(&p->io, EPOLLRDHUP), 0);
	make_readable(p);
	turn(loop);
	assert_int_equal(p->calls, 0);
	assert_int_equal(loop_io_mask(&p->io, EPOLLRDHUP | EPOLLIN), 0); /* finds what is pending */
	turn(loop);
	assert_int_equal(p->calls, 1);
	assert_true(p->io.have & EPOLLIN);
	assert_int_equal(loop_io_mask(&p->io, EPOLLRDHUP), 0); /* forgets it */
	assert_false(p->io.have & EPOLLIN);
	turn(loop);
	assert_int_equal(p->calls, 1);
	shutdown(p->other, SHUT_WR);
	loop_io_want(&p->io, EPOLLRDHUP);
	turn(loop);
	assert_int_equal(p->calls, 2);
	peer_free(p);
}

static void test_close_unregisters(void **state)
{
	struct loop *loop = *state;
	struct peer *p = peer_new(loop, on_count);
	int fd = p->io.fd;

	loop_io_want(&p->io, EPOLLIN);
	make_readable(p);
	turn(loop);
	loop_io_close(&p->io);
	loop_io_close(&p->io);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
	turn(loop);
	assert_int_equal(p->calls, 1);
	peer_free(p);
}

static void test_registering_may_fail(void **state)
{
	struct loop *loop = *state;
	struct loop_io io = LOOP_IO_NULL;

	assert_int_equal(loop_io_init(&io, loop, -1, on_count), -EBADF);
	assert_null(io.loop);
	assert_int_equal(loop->io_count, 0);
	loop_io_deinit(&io);
}

struct alarm {
	struct timer timer;
	struct peer *peer;
	uint64_t fired_ms;
};

static void on_alarm(struct timer *timer)
{
	struct alarm *alarm = container_of(timer, struct alarm, timer);

	alarm->fired_ms = clock_ms();
	if (alarm->peer)
		peer_free(alarm->peer);
	alarm->peer = NULL;
}

/* A timer that is due runs before the callbacks of the same turn, and may free their objects. */
static void test_timer_frees_a_ready_object(void **state)
{
	struct loop *loop = *state;
	struct alarm alarm = { .peer = peer_new(loop, on_suicide) };

	loop_io_want(&alarm.peer->io, EPOLLIN);
	timer_init(&alarm.timer, on_alarm);
	timer_start(&alarm.timer, &loop->timers, 5);
	usleep(20000);
	make_readable(alarm.peer);
	turn(loop);
	assert_null(alarm.peer);
	assert_int_equal(loop->io_count, 0);
}

static void test_waits_for_the_timer(void **state)
{
	struct loop *loop = *state;
	struct alarm alarm = { 0 };
	uint64_t start = clock_ms();

	timer_init(&alarm.timer, on_alarm);
	timer_start(&alarm.timer, &loop->timers, 30);
	while (!alarm.fired_ms)
		assert_int_equal(loop_run_once(loop, -1), 0);
	assert_true(alarm.fired_ms - start >= 30);
	timer_start(&alarm.timer, &loop->timers, 60000);
	start = clock_ms();
	assert_int_equal(loop_run_once(loop, 10), 0); /* no longer than it is told to */
	assert_true(clock_ms() - start < 5000);
	timer_stop(&alarm.timer, &loop->timers);
}

static void on_stop(struct loop_io *io)
{
	loop_stop(io->loop);
}

static void test_stop(void **state)
{
	struct loop *loop = *state;
	struct peer *p = peer_new(loop, on_stop);

	loop_io_want(&p->io, EPOLLIN);
	make_readable(p);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(loop_run(loop), 0); /* stays stopped */
	peer_free(p);
}

#define IO_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IO_TEST(test_ready_until_drained),
		IO_TEST(test_unwanted_is_remembered),
		IO_TEST(test_errors_are_always_wanted),
		IO_TEST(test_callback_frees_another_ready_object),
		IO_TEST(test_callback_frees_its_own),
		IO_TEST(test_callback_calms_another),
		IO_TEST(test_everyone_gets_a_turn),
		IO_TEST(test_move_takes_the_readiness_along),
		IO_TEST(test_mask),
		IO_TEST(test_close_unregisters),
		IO_TEST(test_registering_may_fail),
		IO_TEST(test_timer_frees_a_ready_object),
		IO_TEST(test_waits_for_the_timer),
		IO_TEST(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
