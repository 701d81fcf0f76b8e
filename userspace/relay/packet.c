#include "relay/packet.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/names.h"
#include "net/sock.h"
#include "relay/taker.h"

#define PAUSE_MISSED_MOST 10000U
#define UNSEEN_MOST       8U
#define POLL_LAST_MS      500U /* for an idle flow; until it is noticed a crash would end the flow */

NAME_TABLE(relay_untaken_names, UNTAKEN_COUNT, "", "family", "netns", "mptcp", "no-route",
	   "interface", "no-pair", "tuple", "unseen", "busy", "sockets-refused", "no-memory", "mss",
	   "timestamps", "sack", "ecn", "option", "layer", "removed");

NAME_TABLE(relay_missed_names, RELAY_MISSED_COUNT, "moved", "flags", "socket", "state", "unacked",
	   "order", "owed", "mss", "timestamp", "sack", "ecn", "option", "ip", "layer",
	   "withdrawn");

const char *relay_missed_format(uint32_t missed, char *buf)
{
	size_t used = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < RELAY_MISSED_COUNT && used < RELAY_MISSED_STRLEN; i++)
		if (missed >> i & 1U)
			used += (size_t)snprintf(buf + used, RELAY_MISSED_STRLEN - used, "%s%s",
						 used ? ", " : "", relay_missed_names[i]);
	return buf;
}

/* What never changes again; the rest may be another way at the next packet. */
static const struct {
	enum seam_packet_why bit;
	enum relay_untaken untaken;
} forever[] = {
	{ SEAM_WHY_MSS, UNTAKEN_MSS },       { SEAM_WHY_TIMESTAMP, UNTAKEN_TIMESTAMP },
	{ SEAM_WHY_SACK, UNTAKEN_SACK },     { SEAM_WHY_ECN, UNTAKEN_ECN },
	{ SEAM_WHY_OPTION, UNTAKEN_OPTION }, { SEAM_WHY_LAYER, UNTAKEN_LAYER },
};

void taker_start_timer(struct taker *t, uint32_t delay_ms)
{
	timer_start(&t->timer, &t->relay->env->loop->timers, delay_ms);
}

int taker_quiet(struct taker *t)
{
	uint64_t seen = packet_seen(&t->relay->pair); /* before the sockets are asked */

	for (int side = 0; side < SIDES; side++) {
		int fd = taker_fd(t, side);

		if (sock_unacknowledged(fd) || sock_unread(fd) != t->unread[side]) {
			t->quiet_ns = 0;
			return -1;
		}
	}
	if (!t->quiet_ns) {
		t->seen = seen;
		t->quiet_ns = clock_ns();
		return 0;
	}
	if (t->seen != seen) {
		t->quiet_ns = 0;
		return -1;
	}
	return clock_ns() - t->quiet_ns >= TAKER_GRACE_NS;
}

/* The pumps go on: what waits had its event already. */
static void resume(struct taker *t)
{
	taker_unstall(t);
	for (int side = 0; side < SIDES; side++)
		t->relay->pump[side].from->io.have |= EPOLLIN;
}

static void forget(struct relay *relay)
{
	timer_stop(&relay->taker->timer, &relay->env->loop->timers);
	free(relay->taker);
	relay->taker = NULL;
}

enum taker_turn taker_watch(struct taker *t)
{
	resume(t);
	t->phase = TAKER_WATCH;
	t->quiet_ns = 0;
	taker_start_timer(t, t->pause_ms);
	return TAKER_GO;
}

void taker_refuse(struct relay *relay, enum relay_untaken why)
{
	struct packet_env *env = &relay->env->packet;

	relay->untaken = why;
	env->untaken[why]++;
	if (env->tell)
		env->tell(relay);
}

enum taker_turn taker_give_up(struct taker *t, enum relay_untaken why)
{
	struct relay *relay = t->relay;

	resume(t);
	taker_refuse(relay, why);
	forget(relay);
	packet_remove(&relay->pair);
	return TAKER_GO;
}

static void count_miss(struct relay *relay, uint32_t why)
{
	struct packet_env *env = &relay->env->packet;

	relay->missed = why ? why : 1U << RELAY_MISSED_WITHDRAWN;
	env->missed++;
	for (unsigned i = 0; i < RELAY_MISSED_COUNT; i++)
		env->missed_why[i] += relay->missed >> i & 1U;
	if (env->tell)
		env->tell(relay);
}

static enum taker_turn try_again(struct taker *t)
{
	if (++t->misses >= TAKER_MISSES_MOST)
		return taker_give_up(t, UNTAKEN_BUSY);
	t->pause_ms = TAKER_PAUSE_LEAST << t->misses;
	if (t->pause_ms > PAUSE_MISSED_MOST)
		t->pause_ms = PAUSE_MISSED_MOST;
	return taker_watch(t);
}

enum taker_turn taker_missed(struct taker *t)
{
	count_miss(t->relay, 0);
	return try_again(t);
}

/* Bytes have moved since the pair was added, and are acknowledged: both hosts have sent packets. */
static enum taker_turn unseen(struct taker *t)
{
	const struct pump *pump = t->relay->pump;

	if (pump[CLIENT].bytes + pump[UPSTREAM].bytes == t->entered_bytes) {
		taker_watch(t);
		timer_stop(&t->timer, &t->relay->env->loop->timers); /* until a byte comes */
		return TAKER_GO;
	}
	return ++t->unseen < UNSEEN_MOST ? taker_watch(t) : taker_give_up(t, UNTAKEN_UNSEEN);
}

int taker_arm(struct taker *t, const uint32_t owed[SIDES], enum taker_turn *ret)
{
	const int fd[SIDES] = { taker_fd(t, CLIENT), taker_fd(t, UPSTREAM) };
	int r = packet_arm(&t->relay->pair, fd, t->seen, owed);

	if (!r) {
		t->phase = TAKER_ARMED;
		t->poll_ms = 1;
		taker_start_timer(t, t->poll_ms);
		for (int side = 0; side < SIDES; side++)
			loop_io_drained(&t->relay->pump[side].from->io, EPOLLIN);
		taker_listen(t, EPOLLIN | EPOLLRDHUP, EPOLLIN | EPOLLRDHUP);
		return 1;
	}
	if (r != -EAGAIN)
		*ret = taker_give_up(t, UNTAKEN_SOCKETS);
	else if (packet_seen_both(&t->relay->pair))
		*ret = taker_watch(t);
	else
		*ret = unseen(t);
	return 0;
}

void taker_listen(struct taker *t, uint32_t client, uint32_t upstream)
{
	loop_io_want(&t->relay->pump[CLIENT].from->io, client);
	loop_io_want(&t->relay->pump[UPSTREAM].from->io, upstream);
}

/* Silent at once: whatever they still had to say is stale. */
static enum taker_turn take(struct relay *relay)
{
	struct packet_env *env = &relay->env->packet;
	struct seam_label label;

	for (int side = 0; side < SIDES; side++)
		(void)sock_set_silent_close(relay->pump[side].from->fd);
	env->taken++;
	relay->untaken = UNTAKEN_NOT;
	relay->missed = 0;
	env->describe(relay, &label);
	(void)packet_set_label(&relay->pair, &label);
	return TAKER_TOOK;
}

static enum taker_turn missed(struct taker *t, uint32_t why)
{
	count_miss(t->relay, why);
	for (size_t i = 0; i < ARRAY_SIZE(forever); i++)
		if (why & 1U << forever[i].bit)
			return taker_give_up(t, forever[i].untaken);
	return try_again(t);
}

/* Taken, or a packet has come to the sockets, or one of them has to say something else. */
static enum taker_turn armed_turn(struct taker *t, bool ended)
{
	struct packet_pair *pair = &t->relay->pair;
	uint32_t why;

	if (t->due && !ended && packet_state(pair) == SEAM_PACKET_ARMED) {
		if (t->poll_ms < POLL_LAST_MS)
			t->poll_ms *= 2;
		taker_start_timer(t, t->poll_ms);
		return TAKER_REST;
	}
	if (packet_disarm(pair) == SEAM_PACKET_TAKEN)
		return take(t->relay);
	why = packet_why(pair);
	return missed(t, why);
}

static enum taker_turn grace_turn(struct taker *t)
{
	const uint32_t none[SIDES] = { 0, 0 };
	enum taker_turn turn = TAKER_GO;
	int quiet = relay_is_empty_handed(t->relay) ? taker_quiet(t) : -1;

	if (quiet < 0) {
		t->may_hold = true;
		return taker_watch(t);
	}
	if (quiet)
		return taker_arm(t, none, &turn) ? TAKER_REST : turn;
	if (t->due)
		taker_start_timer(t, 1);
	return TAKER_GO;
}

static enum taker_turn watch_turn(struct taker *t)
{
	const struct relay *relay = t->relay;
	uint64_t bytes = relay->pump[CLIENT].bytes + relay->pump[UPSTREAM].bytes;

	if (bytes >= t->stall_at) {
		taker_narrow(t);
		return TAKER_GO;
	}
	if (t->may_hold && taker_hold(t))
		return TAKER_REST;
	if (!timer_running(&t->timer) && !t->due)
		taker_start_timer(t, t->pause_ms);
	if (!t->due)
		return TAKER_GO;
	t->unread[CLIENT] = t->unread[UPSTREAM] = 0;
	t->quiet_ns = 0;
	if (!relay_is_empty_handed(relay) || taker_quiet(t) < 0) {
		t->may_hold = true;
		if (t->pause_ms < TAKER_PAUSE_MOST)
			t->pause_ms *= 2;
		taker_start_timer(t, t->pause_ms);
		return TAKER_GO;
	}
	t->phase = TAKER_GRACE;
	taker_start_timer(t, TAKER_GRACE_MS);
	return TAKER_GO;
}

bool taker_has_ended(const struct relay *relay)
{
	for (int side = 0; side < SIDES; side++)
		if (relay->pump[side].eof ||
		    relay->pump[side].from->io.have & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			return true;
	return false;
}

static int phase_turn(struct taker *t)
{
	switch (t->phase) {
	case TAKER_GRACE:
		return grace_turn(t);
	case TAKER_HOLD:
		return taker_hold_turn(t);
	case TAKER_NARROW:
		return taker_narrow_turn(t);
	case TAKER_STALL:
		return taker_stall_turn(t);
	case TAKER_WATCH:
	case TAKER_ARMED:
	default:
		return watch_turn(t);
	}
}

int relay_packet_turn(struct relay *relay)
{
	struct taker *t = relay->taker;
	bool ended = taker_has_ended(relay);
	int r;

	if (t->phase == TAKER_ARMED)
		r = armed_turn(t, ended);
	else
		r = ended ? TAKER_GO : phase_turn(t);
	if (r == TAKER_GO && ended && relay->taker) {
		resume(t);
		forget(relay);
		packet_remove(&relay->pair);
	} else if (relay->taker) {
		relay->taker->due = false;
	}
	return r;
}

void relay_packet_after(struct relay *relay)
{
	if (relay->taker && relay->taker->phase == TAKER_NARROW)
		(void)taker_narrow_more(relay->taker);
}

void relay_packet_stop(struct relay *relay)
{
	if (relay->taker)
		forget(relay);
}

bool relay_packet_leave(struct relay *relay)
{
	if (!relay->pair.packet)
		return false;
	if (packet_disarm(&relay->pair) == SEAM_PACKET_TAKEN)
		return true;
	if (relay->taker) {
		taker_give_up(relay->taker, UNTAKEN_REMOVED);
		relay->env->wake(relay);
	}
	return false;
}

bool relay_is_taken(const struct relay *relay)
{
	return relay->pair.packet && packet_state(&relay->pair) == SEAM_PACKET_TAKEN;
}

int relay_packet_settle(struct relay *relay)
{
	if (!relay->pair.packet)
		return 0;
	if (packet_disarm(&relay->pair) != SEAM_PACKET_TAKEN) {
		packet_remove(&relay->pair);
		return 0;
	}
	if (relay->taker)
		(void)take(relay);
	return 1;
}
