/* taker - what one relay's attempts to be taken over know; for packet*.c. */
#pragma once
#include "relay/relay.h"

#define TAKER_GRACE_NS    2000000U /* whatever had arrived by then is through the stack */
#define TAKER_GRACE_MS    2U
#define TAKER_PAUSE_LEAST 5U
#define TAKER_PAUSE_MOST  1000U /* while it talks */

enum taker_phase {
	TAKER_WATCH,  /* the timer says when to look */
	TAKER_GRACE,  /* it was quiet: still? */
	TAKER_HOLD,   /* a short message waits */
	TAKER_NARROW, /* a stall begins: until the windows are small */
	TAKER_STALL,  /* nothing is read */
	TAKER_ARMED,
};

struct taker {
	struct relay *relay;
	struct timer timer;
	enum taker_phase phase;
	bool due;      /* the timer has run */
	bool may_hold; /* the next short message */
	uint8_t misses, unseen;
	uint32_t pause_ms;
	uint32_t poll_ms;       /* armed: no event tells that it was taken */
	uint64_t seen;          /* packets, when the quiet began */
	uint64_t quiet_ns;      /* since when, 0: it is not quiet */
	uint32_t unread[SIDES]; /* what may wait in the sockets: a message, or what was copied */
	uint32_t clamp[SIDES];  /* windows to give back, 0: not narrowed */
	uint32_t buffer[SIDES]; /* and receive buffers */
	uint64_t bytes[SIDES];  /* moved when it was narrowed */
	uint64_t entered_bytes; /* moved when the pair was added */
	uint64_t stall_at, stall_step, stall_until_ms;
};

static inline int taker_fd(const struct taker *t, int side)
{
	return t->relay->pump[side].from->fd;
}

/* A side has: the relay is left to copy for the rest of its life. Only open connections are taken. */
bool taker_has_ended(const struct relay *relay);
void taker_start_timer(struct taker *t, uint32_t delay_ms);
/* 1: nothing but @unread waits or is under way, and nothing has come since long enough; 0: not for long
 * enough yet; -1: it moves. */
int taker_quiet(struct taker *t);
/* Back to copying; the next look is after a pause. */
enum taker_turn taker_watch(struct taker *t);
/* The same after an attempt that was given up: the pauses grow, and end. */
enum taker_turn taker_missed(struct taker *t);
/* Counts it, and tells. */
void taker_refuse(struct relay *relay, enum relay_untaken why);
/* It is not going to be taken; @t is gone. */
enum taker_turn taker_give_up(struct taker *t, enum relay_untaken why);
/* 1: armed. 0: not, and @ret says how it goes on: @t may be gone. */
int taker_arm(struct taker *t, const uint32_t owed[SIDES], enum taker_turn *ret);
void taker_listen(struct taker *t, uint32_t client, uint32_t upstream); /* while it rests */

/* packet_hold.c */
bool taker_hold(struct taker *t);     /* a short message waits from now on */
int taker_hold_turn(struct taker *t); /* like the other turns: enum taker_turn, -errno */
/* packet_stall.c */
void taker_narrow(struct taker *t);
int taker_narrow_turn(struct taker *t);
bool taker_narrow_more(struct taker *t); /* the windows and what is to be sent are small */
int taker_stall_turn(struct taker *t);
/* Reads away what was copied, gives the windows back; nothing to do is fine. */
void taker_unstall(struct taker *t);
