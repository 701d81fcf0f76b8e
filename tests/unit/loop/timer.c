/* The wheel against a model that looks at every timer: never early, never later than the next advance, in
 * order, whatever is started and stopped meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "loop/timer.h"

#define TIMERS 200
#define STEPS  20000
#define RANGE  ((uint64_t)1 << 36) /* of the wheel */

struct watched {
	struct timer timer;
	bool running;
	uint64_t started_ms, delay_ms;
};

static struct timer_wheel wheel;
static struct watched all[TIMERS];
static uint64_t last_fired, horizon, fired;

static uint64_t random_bits(void)
{
	static uint64_t word = 88172645463325252U;

	word ^= word << 13;
	word ^= word >> 7;
	word ^= word << 17;
	return word;
}

/* Of all magnitudes, and often just about a power of 64, where the levels meet. */
static uint64_t random_ms(void)
{
	uint64_t at = (uint64_t)1 << random_bits() % 40;

	switch (random_bits() % 4) {
	case 0:
		return random_bits() % 4;
	case 1:
		return at + random_bits() % 3 - 1;
	case 2:
		return ((uint64_t)1 << 6 * (random_bits() % 7)) + random_bits() % 5 - 2;
	default:
		return random_bits() % at;
	}
}

static void start(struct watched *w, uint64_t delay_ms)
{
	if (delay_ms > 4 * RANGE) /* random_ms() went below zero */
		delay_ms = 0;
	w->running = true;
	w->started_ms = wheel.now_ms;
	w->delay_ms = delay_ms;
	timer_start(&w->timer, &wheel, delay_ms);
	assert_true(timer_running(&w->timer));
}

static void stop(struct watched *w)
{
	w->running = false;
	timer_stop(&w->timer, &wheel);
	assert_false(timer_running(&w->timer));
}

static uint64_t due_ms(const struct watched *w)
{
	return w->started_ms + w->delay_ms + 1; /* the first whole millisecond after the delay */
}

static void on_fire(struct timer *timer)
{
	struct watched *w = container_of(timer, struct watched, timer);

	assert_true(w->running);
	assert_false(timer_running(timer));
	assert_int_equal(wheel.now_ms, due_ms(w));
	assert_true(wheel.now_ms <= horizon);
	assert_true(wheel.now_ms >= last_fired);
	last_fired = wheel.now_ms;
	fired++;
	w->running = false;
	switch (random_bits() % 8) {
	case 0:
		start(w, random_ms());
		break;
	case 1:
		start(&all[random_bits() % TIMERS], random_ms());
		break;
	case 2:
		stop(&all[random_bits() % TIMERS]);
		break;
	case 3:
		start(&all[random_bits() % TIMERS], 0);
		break;
	default:
		break;
	}
}

static void check(void)
{
	uint64_t first = UINT64_MAX, next = timer_wheel_next(&wheel);

	for (int i = 0; i < TIMERS; i++) {
		assert_int_equal(timer_running(&all[i].timer), all[i].running);
		if (!all[i].running)
			continue;
		assert_true(due_ms(&all[i]) > wheel.now_ms);
		if (due_ms(&all[i]) < first)
			first = due_ms(&all[i]);
	}
	assert_int_equal(timer_wheel_empty(&wheel), first == UINT64_MAX);
	assert_true(next <= first);
	assert_true(next > wheel.now_ms);
	assert_int_equal(next == UINT64_MAX, first == UINT64_MAX);
}

static void advance(uint64_t ms)
{
	horizon = wheel.now_ms + ms;
	timer_wheel_advance(&wheel, horizon);
	assert_int_equal(wheel.now_ms, horizon);
	check();
}

static void reset(uint64_t now_ms)
{
	timer_wheel_init(&wheel, now_ms);
	last_fired = fired = 0;
	for (int i = 0; i < TIMERS; i++) {
		timer_init(&all[i].timer, on_fire);
		all[i].running = false;
	}
	check();
}

static void test_against_the_model(void **state)
{
	static const uint64_t begin[] = { 0, 1, 63, 64, RANGE - 3, 1234567890123 };

	for (size_t b = 0; b < sizeof(begin) / sizeof(*begin); b++) {
		reset(begin[b]);
		for (int step = 0; step < STEPS / 6; step++) {
			struct watched *w = &all[random_bits() % TIMERS];
			uint64_t ms;

			switch (random_bits() % 4) {
			case 0:
				stop(w);
				break;
			case 1:
				ms = random_ms();
				advance(ms > 4 * RANGE ? 0 : ms % (RANGE / 64));
				break;
			default:
				start(w, random_ms());
				break;
			}
		}
		assert_true(fired > 100);
		for (int i = 0; i < TIMERS; i++)
			stop(&all[i]);
		check();
	}
}

/* By timer_wheel_next() alone, as a loop does that has nothing else to wait for. */
static void test_next_leads_to_every_timer(void **state)
{
	uint64_t steps = 0;

	reset(977);
	for (int i = 0; i < TIMERS; i++)
		timer_init(&all[i].timer, on_fire);
	for (int i = 0; i < TIMERS; i++)
		start(&all[i], random_bits() % RANGE);
	while (!timer_wheel_empty(&wheel) && fired < 10ULL * TIMERS) {
		uint64_t next = timer_wheel_next(&wheel);

		assert_true(++steps < 100000);
		horizon = next;
		timer_wheel_advance(&wheel, next);
	}
	assert_true(fired >= TIMERS);
	for (int i = 0; i < TIMERS; i++)
		stop(&all[i]);
}

static void test_time_does_not_go_back(void **state)
{
	reset(1000);
	start(&all[0], 10);
	horizon = 1005;
	timer_wheel_advance(&wheel, 1005);
	timer_wheel_advance(&wheel, 900);
	assert_int_equal(wheel.now_ms, 1005);
	check();
	horizon = 1011;
	timer_wheel_advance(&wheel, 1011);
	assert_int_equal(fired, 1);
}

struct mortal {
	struct timer timer;
	int *count;
};

static void on_mortal(struct timer *timer)
{
	struct mortal *m = container_of(timer, struct mortal, timer);

	(*m->count)++;
	free(m);
}

static void test_owner_frees_itself(void **state)
{
	int count = 0;

	reset(0);
	for (int i = 0; i < 100; i++) {
		struct mortal *m = malloc(sizeof(*m));

		assert_non_null(m);
		m->count = &count;
		timer_init(&m->timer, on_mortal);
		timer_start(&m->timer, &wheel, (uint64_t)i % 3 * 64);
	}
	timer_wheel_advance(&wheel, 200);
	assert_int_equal(count, 100);
	assert_true(timer_wheel_empty(&wheel));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_the_model),
		cmocka_unit_test(test_next_leads_to_every_timer),
		cmocka_unit_test(test_time_does_not_go_back),
		cmocka_unit_test(test_owner_frees_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
