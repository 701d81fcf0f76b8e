/* A pair that is never quiet is made quiet without idling the way out: its windows become small, then nothing
 * is read, and the far side gets a copy of what waits, by MSG_PEEK, so that no window opens. When both are
 * quiet it is armed and the copies are read away: that sends the window update, and the segment that it
 * invites takes the pair over. */
#include <errno.h>
#include <sys/socket.h>
#include "net/sock.h"
#include "relay/taker.h"

#define STALL_WINDOW   65536U  /* what a side may send ahead */
#define STALL_ROOM     131072U /* in memory, at most */
#define STALL_BUFFER   393216U /* what a side's receive buffer is cut to: RELAY_SCRATCH is more */
#define STALL_SCRAP    4096U   /* of a window that may be lost */
#define STALL_LEFT     131072U /* still to be sent when nothing is read any more */
#define NARROW_MS      4000U   /* far hosts take long to use up the window that they have */
#define NARROW_LOOK_MS 5U
#define STALL_MS       500U
#define FEW            8U /* a side that moves so many times less than the other is no matter */

_Static_assert(STALL_BUFFER < RELAY_SCRATCH, "all that waits is seen by one recv()");

void taker_narrow(struct taker *t)
{
	for (int side = 0; side < SIDES; side++) {
		int fd = taker_fd(t, side);

		t->bytes[side] = t->relay->pump[side].bytes;
		t->clamp[side] = sock_window_clamp(fd);
		if (sock_set_window_clamp(fd, STALL_WINDOW))
			t->clamp[side] = 0;
	}
	t->phase = TAKER_NARROW;
	t->stall_until_ms = t->relay->env->loop->now_ms + NARROW_MS;
	taker_start_timer(t, NARROW_LOOK_MS);
}

/* The kernel never takes back what it has offered: the side has to use it up before its buffer may be cut. */
static bool has_used_window(const struct taker *t, int side)
{
	const struct pump *pump = t->relay->pump;
	uint64_t moved = pump[side].bytes - t->bytes[side];
	uint32_t window;

	if (moved < (pump[!side].bytes - t->bytes[!side]) / FEW)
		return true;
	window = sock_receive_window(taker_fd(t, side));
	if (window != UINT32_MAX)
		return window <= STALL_WINDOW;
	return moved >= sock_receive_buffer(taker_fd(t, side));
}

/* Cuts the buffer to what is in it, and a window. A sender that is faster than the way out keeps any buffer full: that
 * is cut below what is in it, as soon as nothing more is invited that would have to be dropped. */
static void cut_buffer(struct taker *t, int side)
{
	int fd = taker_fd(t, side);
	uint32_t now = sock_receive_buffer(fd), size = sock_receive_memory(fd) + STALL_ROOM;

	if (sock_receive_window(fd) <= STALL_SCRAP || size < STALL_BUFFER)
		size = STALL_BUFFER;
	if (now <= STALL_BUFFER || size >= now)
		return;
	if (!t->buffer[side])
		t->buffer[side] = now;
	(void)sock_set_receive_buffer(fd, size, true);
}

/* The kernel sets the window anew when segments of another size come (6.7). */
static void keep_clamp(const struct taker *t, int side)
{
	int fd = taker_fd(t, side);

	if (t->clamp[side] && sock_window_clamp(fd) > STALL_WINDOW)
		(void)sock_set_window_clamp(fd, STALL_WINDOW);
}

/* What is still to be sent of a side's bytes is little. Until it is, nothing is read; and what is left keeps
 * the way out busy if the other side takes longer. */
static bool is_drained(const struct taker *t, int side)
{
	struct pump *p = &t->relay->pump[side];
	uint32_t left = sock_unacknowledged(p->to->fd);

	if (p->held || left > STALL_LEFT)
		p->rests = true;
	else if (left < STALL_LEFT / 2)
		p->rests = false;
	return !p->held && left <= STALL_LEFT;
}

static bool narrow_side(struct taker *t, int side)
{
	int fd = taker_fd(t, side);
	bool drained;

	keep_clamp(t, side);
	if (!has_used_window(t, side))
		return false;
	drained = is_drained(t, side);
	cut_buffer(t, side);
	return drained && sock_receive_buffer(fd) <= STALL_BUFFER &&
	       sock_receive_memory(fd) <= STALL_BUFFER;
}

/* Also when the pumps have run: the buffers are as empty as they get. */
bool taker_narrow_more(struct taker *t)
{
	bool client = narrow_side(t, CLIENT), upstream = narrow_side(t, UPSTREAM);

	return client && upstream;
}

/* The next one when it has moved as much again, and more after each. */
static void postpone(struct taker *t)
{
	const struct pump *pump = t->relay->pump;

	t->stall_step *= 2;
	t->stall_at = pump[CLIENT].bytes + pump[UPSTREAM].bytes + t->stall_step;
}

static enum taker_turn failed(struct taker *t)
{
	postpone(t);
	return taker_missed(t);
}

int taker_narrow_turn(struct taker *t)
{
	uint64_t now = t->relay->env->loop->now_ms;

	if (taker_narrow_more(t)) {
		t->phase = TAKER_STALL;
		t->unread[CLIENT] = t->unread[UPSTREAM] = 0;
		t->quiet_ns = 0;
		t->stall_until_ms = now + STALL_MS;
		taker_listen(t, EPOLLRDHUP, EPOLLRDHUP);
		t->due = true;
		return taker_stall_turn(t);
	}
	if (now >= t->stall_until_ms)
		return failed(t);
	if (t->due)
		taker_start_timer(t, NARROW_LOOK_MS);
	return TAKER_GO;
}

/* What came meanwhile joins what was copied. 1; 0: it does not fit; -errno */
static int copy_unread(struct taker *t, int side)
{
	struct pump *p = &t->relay->pump[side];
	uint8_t *scratch = t->relay->env->scratch;
	uint32_t done = t->unread[side];
	ssize_t n;

	if (sock_unread(p->from->fd) <= done)
		return 1;
	n = recv(p->from->fd, scratch, RELAY_SCRATCH, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 1 : relay_fail(p, p->from, -errno);
	if (n <= (ssize_t)done)
		return 1;
	if (n == (ssize_t)RELAY_SCRATCH)
		return 0;
	n = send(p->to->fd, scratch + done, (size_t)n - done, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 1 : relay_fail(p, p->to, -errno);
	t->unread[side] += (uint32_t)n;
	p->bytes += (uint64_t)n;
	return 1;
}

void taker_unstall(struct taker *t)
{
	bool copied = t->phase == TAKER_STALL || t->phase == TAKER_ARMED;

	for (int side = 0; side < SIDES; side++) {
		t->relay->pump[side].rests = false;
		if (t->clamp[side])
			(void)sock_set_window_clamp(taker_fd(t, side), t->clamp[side]);
		t->clamp[side] = 0;
		if (t->buffer[side])
			(void)sock_set_receive_buffer(taker_fd(t, side), t->buffer[side], false);
		t->buffer[side] = 0;
		/* discards them without a copy, tcp(7) */
		while (copied && t->unread[side]) {
			ssize_t n = recv(taker_fd(t, side), NULL, t->unread[side],
					 MSG_TRUNC | MSG_DONTWAIT);

			if (n <= 0)
				break; /* an error, which the pump finds as well */
			t->unread[side] -= (uint32_t)n;
		}
		t->unread[side] = 0;
	}
}

int taker_stall_turn(struct taker *t)
{
	const uint32_t none[SIDES] = { 0, 0 };
	enum taker_turn turn = TAKER_GO;
	int quiet;

	if (!t->due)
		return TAKER_REST;
	for (int side = 0; side < SIDES; side++) {
		int r = copy_unread(t, side);

		if (r <= 0)
			return r < 0 ? r : (int)failed(t);
	}
	quiet = taker_quiet(t);
	if (quiet > 0) {
		postpone(t); /* should it be missed */
		if (!taker_arm(t, none, &turn))
			return turn;
		taker_unstall(t);
		return TAKER_REST;
	}
	if (t->relay->env->loop->now_ms >= t->stall_until_ms)
		return failed(t);
	taker_start_timer(t, 1);
	return TAKER_REST;
}
