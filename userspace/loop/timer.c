#include "loop/timer.h"
#include <assert.h>

#define SLOT_BITS 6
_Static_assert(TIMER_SLOTS == 1 << SLOT_BITS, "slot bits");

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
	wheel->now_ms = now_ms;
	for (int level = 0; level < TIMER_LEVELS; level++) {
		wheel->pending[level] = 0;
		for (int slot = 0; slot < TIMER_SLOTS; slot++)
			list_init(&wheel->slots[level][slot]);
	}
}

bool timer_wheel_empty(const struct timer_wheel *wheel)
{
	for (int level = 0; level < TIMER_LEVELS; level++)
		if (wheel->pending[level])
			return false;
	return true;
}

void timer_init(struct timer *timer, timer_fn *fn)
{
	*timer = (struct timer){ .fn = fn };
	list_init(&timer->link);
}

/* The level is where the first differing digit of @expires and now lies; what lies beyond the wheel waits
 * in its last slot and is placed again from there. */
static void place(struct timer *timer, struct timer_wheel *wheel)
{
	const uint64_t range = (uint64_t)1 << (SLOT_BITS * TIMER_LEVELS);
	uint64_t at = timer->expires_ms, differ;
	int level = 0;

	if (at <= wheel->now_ms)
		at = wheel->now_ms + 1;
	if (at - wheel->now_ms >= range)
		at = wheel->now_ms + range - 1;
	differ = (at ^ wheel->now_ms) >> SLOT_BITS;
	while (differ && level < TIMER_LEVELS - 1) {
		differ >>= SLOT_BITS;
		level++;
	}
	timer->level = (uint8_t)level;
	timer->slot = (at >> (SLOT_BITS * level)) % TIMER_SLOTS;
	list_append(&wheel->slots[level][timer->slot], &timer->link);
	wheel->pending[level] |= (uint64_t)1 << timer->slot;
}

static void unplace(struct timer *timer, struct timer_wheel *wheel)
{
	list_unlink(&timer->link);
	if (list_empty(&wheel->slots[timer->level][timer->slot]))
		wheel->pending[timer->level] &= ~((uint64_t)1 << timer->slot);
}

void timer_start(struct timer *timer, struct timer_wheel *wheel, uint64_t delay_ms)
{
	timer_stop(timer, wheel);
	timer->expires_ms = wheel->now_ms + delay_ms + 1; /* now_ms may be almost over */
	place(timer, wheel);
}

void timer_stop(struct timer *timer, struct timer_wheel *wheel)
{
	if (timer_running(timer))
		unplace(timer, wheel);
}

/* The start of the next occupied slot of @level after now, or UINT64_MAX. */
static uint64_t next_of_level(const struct timer_wheel *wheel, int level)
{
	unsigned shift = SLOT_BITS * (unsigned)level;
	uint64_t tick = wheel->now_ms >> shift, bits = wheel->pending[level];
	unsigned from = (tick + 1) % TIMER_SLOTS;

	if (!bits)
		return UINT64_MAX;
	bits = bits >> from | (from ? bits << (TIMER_SLOTS - from) : 0);
	return (tick + 1 + (uint64_t)__builtin_ctzll(bits)) << shift;
}

uint64_t timer_wheel_next(const struct timer_wheel *wheel)
{
	uint64_t next = UINT64_MAX;

	for (int level = 0; level < TIMER_LEVELS; level++) {
		uint64_t at = next_of_level(wheel, level);

		if (at < next)
			next = at;
	}
	return next;
}

/* Everything in the slots that begin at @wheel->now_ms: run it, or place it again, finer. */
static void run_now(struct timer_wheel *wheel)
{
	for (int level = TIMER_LEVELS - 1; level >= 0; level--) {
		unsigned shift = SLOT_BITS * (unsigned)level;
		struct list *slot = &wheel->slots[level][(wheel->now_ms >> shift) % TIMER_SLOTS];
		struct list due = LIST_INIT(due);

		if (wheel->now_ms & (((uint64_t)1 << shift) - 1))
			continue;
		list_splice(&due, slot);
		wheel->pending[level] &= ~((uint64_t)1 << ((wheel->now_ms >> shift) % TIMER_SLOTS));
		while (!list_empty(&due)) {
			struct timer *timer = container_of(due.next, struct timer, link);

			list_unlink(&timer->link);
			if (timer->expires_ms <= wheel->now_ms)
				timer->fn(timer);
			else
				place(timer, wheel);
		}
	}
}

void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms)
{
	for (;;) {
		uint64_t next = timer_wheel_next(wheel);

		if (next > now_ms)
			break;
		wheel->now_ms = next;
		run_now(wheel);
	}
	if (now_ms > wheel->now_ms)
		wheel->now_ms = now_ms;
}
