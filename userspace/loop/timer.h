/* timer - hierarchical timing wheel (Varghese and Lauck, 1987): start and stop in constant time, 1 ms
 * resolution, a timer never fires early. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/list.h"

#define TIMER_LEVELS 6
#define TIMER_SLOTS  64 /* a power of two, and the bits of @pending */

struct timer;
typedef void timer_fn(struct timer *timer);

/* Embedded in its owner, who may free itself in the callback: the timer is stopped when it runs. */
struct timer {
	struct list link;
	timer_fn *fn;
	uint64_t expires_ms;
	uint8_t level, slot;
};

struct timer_wheel {
	uint64_t now_ms;                /* every timer due until here has run */
	uint64_t pending[TIMER_LEVELS]; /* bit per slot that holds a timer */
	struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);
bool timer_wheel_empty(const struct timer_wheel *wheel);
/* Runs what is due at @now_ms, in order of expiry to the millisecond. Callbacks may start and stop any. */
void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms);
/* A time at which to call timer_wheel_advance() again, never after the next expiry; UINT64_MAX: no timer. */
uint64_t timer_wheel_next(const struct timer_wheel *wheel);

void timer_init(struct timer *timer, timer_fn *fn);
/* Restarts a running timer. @delay_ms counts from the wheel's time. */
void timer_start(struct timer *timer, struct timer_wheel *wheel, uint64_t delay_ms);
void timer_stop(struct timer *timer, struct timer_wheel *wheel); /* stopped is fine */
static inline bool timer_running(const struct timer *timer)
{
	return list_linked(&timer->link);
}
