#include "relay/selftest_run.h"
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "base/names.h"

#define STREAM_BYTES   (4U << 20)
#define SOME_BYTES     65536U
#define SMALL_CHUNK    1000U
#define PING_PONGS     500
#define RACES          100
#define RACERS         10    /* at a time */
#define TINY_BUFFER    16384 /* the kernel makes it twice as much */
#define STALL_QUIET_MS 12
/* A stalled reader: what may be waiting in the tiny buffers of three sockets, in the send buffer that the relay
 * gives the fourth, and in the segments that were too many. Without the gate all of STALL_BYTES would. */
#define STALL_LIMIT    (384U << 10)
#define STALL_BYTES    (1U << 20)

static int stream_one_way(struct pair *pair, int side)
{
	int r = pair_begin(pair);

	if (!r)
		r = pair_send(pair, side, STREAM_BYTES);
	if (!r)
		r = pair_check_kernel(pair, side);
	return r ? r : pair_finish(pair);
}

static int stream_both_ways(struct pair *pair, int side)
{
	int r = pair_begin(pair);

	if (!r)
		r = pair_send_both(pair, STREAM_BYTES / 4);
	return r ? r : pair_end_well(pair);
}

/* Segments that wait in both sockets when they are inserted, and nothing after them that would push. */
static int early_bytes(struct pair *pair, int side)
{
	int r = pair_open(pair, 0);

	for (side = 0; side < SIDES && !r; side++) {
		pair->way[side].total = SOME_BYTES / 2;
		pair->way[side].chunk = SMALL_CHUNK;
	}
	while (!r && (pair->way[CLIENT].sent < SOME_BYTES / 2 ||
		      pair->way[UPSTREAM].sent < SOME_BYTES / 2))
		r = pair_turn(pair);
	if (r)
		return r;
	pair_start(pair);
	r = pair_exchange(pair);
	if (!r)
		r = pair_send_both(pair, SOME_BYTES);
	return r ? r : pair_end_well(pair);
}

/* Inserted in the middle of a stream, by enter_after. */
static int late_entry(struct pair *pair, int side)
{
	int r = pair_begin(pair);

	if (!r)
		r = pair_send_both(pair, STREAM_BYTES / 4);
	return r ? r : pair_end_well(pair);
}

static int ping_pong(struct pair *pair, int side)
{
	int r = pair_begin(pair);

	for (int i = 0; i < PING_PONGS && !r; i++) {
		r = pair_send(pair, CLIENT, 1);
		if (!r)
			r = pair_send(pair, UPSTREAM, 1);
	}
	return r ? r : pair_end_well(pair);
}

static int stalled_reader(struct pair *pair, int side)
{
	struct pair_way *way = &pair->way[side];
	int r = pair_open(pair, TINY_BUFFER);

	if (r)
		return r;
	pair_start(pair);
	r = pair_send_both(pair, SMALL_CHUNK);
	if (!r)
		r = pair_turn(
			pair); /* nobody listens to the sockets any more: a spill has to be told */
	way->total = STALL_BYTES;
	way->stalled = true;
	if (!r)
		r = pair_block(pair, side, STALL_QUIET_MS);
	if (!r && way->sent > STALL_LIMIT)
		r = pair_fail(pair->rig, "%llu bytes were taken for a reader that stood still",
			      (unsigned long long)way->sent);
	way->total = way->sent + SOME_BYTES;
	if (!r)
		r = pair_go_on(pair, side, SOME_BYTES);
	return r ? r : pair_finish(pair);
}

/* Both queues are full, and both sides pass what does not fit: neither may wait for the other. */
static int stalled_readers(struct pair *pair, int side)
{
	int r = pair_open(pair, 2 * TINY_BUFFER);

	if (r)
		return r;
	pair_start(pair);
	for (side = 0; side < SIDES; side++) {
		pair->way[side].total = STALL_BYTES;
		pair->way[side].stalled = pair->way[side].fin = true;
	}
	r = pair_block(pair, CLIENT, STALL_QUIET_MS);
	pair->way[CLIENT].stalled = pair->way[UPSTREAM].stalled = false;
	if (!r)
		r = pair_exchange(pair);
	return r ? r : pair_end_well(pair);
}

static int half_close(struct pair *pair, int side)
{
	int r = pair_begin(pair);

	if (!r)
		r = pair_send_both(pair, SOME_BYTES);
	pair->way[side].fin = true;
	if (!r)
		r = pair_send(pair, side, SOME_BYTES);
	if (!r)
		r = pair_send(pair, !side, 4 * SOME_BYTES);
	return r ? r : pair_end_well(pair);
}

/* Redirected, an empty FIN would break the peer's socket (EPIPE). */
static int bare_fin(struct pair *pair, int side)
{
	int r = pair_begin(pair);

	pair->way[side].fin = true;
	if (!r)
		r = pair_exchange(pair);
	if (!r)
		r = pair_send(pair, !side, SOME_BYTES);
	if (!r)
		r = pair_check_kernel(pair, !side);
	return r ? r : pair_finish(pair);
}

static int fin_with_data(struct pair *pair, int side)
{
	int r = pair_begin(pair);

	if (!r)
		r = pair_send_both(pair, SMALL_CHUNK);
	pair->way[side].fin = pair->way[side].fin_joined = true;
	if (!r)
		r = pair_send(pair, side, SMALL_CHUNK);
	if (!r)
		r = pair_send(pair, !side, SMALL_CHUNK);
	return r ? r : pair_end_well(pair);
}

static int reset_by(struct pair *pair, int side)
{
	const struct pair_way *way = &pair->way[side];
	int r = pair_begin(pair);

	if (!r)
		r = pair_send_both(pair, SOME_BYTES);
	if (r)
		return r;
	pair_end_close(pair, side, true);
	while (!r && (pair->started || !way->receive_error))
		r = pair_turn(pair); /* a FIN fails there */
	if (r)
		return r;
	if (way->receive_error != -ECONNRESET)
		return pair_fail(pair->rig, "the other end was told \"%s\"",
				 strerror(-way->receive_error));
	return pair_check_kernel(pair, side);
}

/* User space has read in part, and relayed, a segment that waits. */
static int half_read_segment(struct pair *pair, int side)
{
	char head[10];
	int r = pair_open(pair, 0);

	pair->way[side].total = SMALL_CHUNK;
	while (!r && recv(pair->side[side].fd, head, sizeof(head), MSG_PEEK) < 0)
		r = pair_turn(pair);
	if (r)
		return r;
	if (recv(pair->side[side].fd, head, sizeof(head), 0) != sizeof(head) ||
	    send(pair->side[!side].fd, head, sizeof(head), MSG_NOSIGNAL) != sizeof(head))
		return pair_fail(pair->rig, "relaying 10 bytes by hand: %s", strerror(errno));
	pair->by_hand[side] = sizeof(head);
	pair_start(pair);
	r = pair_exchange(pair);
	if (!r)
		r = pair_send_both(pair, SOME_BYTES);
	return r ? r : pair_end_well(pair);
}

static int overlap(struct pair *pair, int side)
{
	static const int one = 1;
	int unacked = 1, r = pair_begin(pair);

	if (!r)
		r = pair_send_both(pair, SMALL_CHUNK);
	/* else the acknowledgement may be delayed by 40 ms, and find no socket there */
	(void)setsockopt(pair->side[side].fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
	while (!r && !ioctl(pair->end[side].fd, SIOCOUTQ, &unacked) && unacked)
		r = pair_turn(pair);
	if (r)
		return r;
	r = pair_end_rewind(pair, side, SMALL_CHUNK / 2);
	if (r == -EPERM || r == -ENOPROTOOPT)
		return pair_finish(pair);
	if (r)
		return pair_fail(pair->rig, "going back by TCP_REPAIR: %s", strerror(-r));
	r = pair_send(pair, side, SMALL_CHUNK / 2);
	if (!r)
		r = pair_send_both(pair, SOME_BYTES);
	return r ? r : pair_end_well(pair);
}

static uint32_t draw(uint32_t *state, uint32_t below)
{
	*state = *state * 1664525U + 1013904223U; /* the same races at every start */
	return (uint32_t)(((uint64_t)*state * below) >> 32);
}

static int turns(struct pair *pair, uint32_t count)
{
	int r = 0;

	while (count-- && !r)
		r = pair_turn(pair);
	return r;
}

static int race_begins(struct pair *pair, uint32_t *state)
{
	for (int side = 0; side < SIDES; side++) {
		pair->way[side].total = draw(state, 2 * SOME_BYTES);
		pair->way[side].chunk = draw(state, 4) ? 0 : SMALL_CHUNK;
	}
	return turns(pair, draw(state, 3));
}

/* FIN, or RST, of one end and then of the other, while bytes are under way: only prefixes may arrive, and
 * a FIN only behind all of them. */
static int race(struct pair pairs[RACERS], uint32_t *state)
{
	int first[RACERS], r = 0;

	for (int i = 0; i < RACERS && !r; i++) {
		first[i] = (int)draw(state, SIDES);
		r = pair_begin(&pairs[i]);
		if (!r)
			r = race_begins(&pairs[i], state);
	}
	for (int i = 0; i < RACERS && !r; i++) {
		pair_end_close(&pairs[i], first[i], draw(state, 2));
		r = turns(&pairs[i], draw(state, 3));
	}
	for (int i = 0; i < RACERS && !r; i++)
		pair_end_close(&pairs[i], !first[i], draw(state, 2));
	for (int i = 0; i < RACERS; i++)
		while (!r && pairs[i].started)
			r = pair_turn(&pairs[i]);
	return r;
}

static int close_races(struct pair *pair, int side)
{
	uint32_t state = 1;
	int r = 0;

	for (int round = 0; round < RACES / RACERS && !r; round++) {
		struct pair pairs[RACERS];

		for (int i = 0; i < RACERS; i++)
			pair_init(&pairs[i], pair->rig);
		r = race(pairs, &state);
		for (int i = 0; i < RACERS; i++)
			pair_close(&pairs[i]);
		if (!r)
			r = pair_rig_check(pair->rig);
	}
	return r;
}

static const struct selftest_ops all_cases[] = {
	{ "stream-up", stream_one_way, CLIENT, 0, false },
	{ "stream-down", stream_one_way, UPSTREAM, 0, false },
	{ "stream-both-ways", stream_both_ways, 0, 0, false },
	{ "early-bytes", early_bytes, 0, 0, false },
	{ "late-entry", late_entry, 0, 16, false },
	{ "ping-pong", ping_pong, 0, 0, false },
	{ "stalled-server", stalled_reader, CLIENT, 0, false },
	{ "stalled-client", stalled_reader, UPSTREAM, 0, false },
	{ "stalled-both", stalled_readers, 0, 0, false },
	{ "half-close-client", half_close, CLIENT, 0, false },
	{ "half-close-server", half_close, UPSTREAM, 0, false },
	{ "bare-fin-client", bare_fin, CLIENT, 0, false },
	{ "bare-fin-server", bare_fin, UPSTREAM, 0, false },
	{ "fin-with-data-client", fin_with_data, CLIENT, 0, false },
	{ "fin-with-data-server", fin_with_data, UPSTREAM, 0, false },
	{ "reset-by-client", reset_by, CLIENT, 0, false },
	{ "reset-by-server", reset_by, UPSTREAM, 0, false },
	{ "half-read-segment-up", half_read_segment, CLIENT, 0, false },
	{ "half-read-segment-down", half_read_segment, UPSTREAM, 0, false },
	{ "overlap-up", overlap, CLIENT, 0, false },
	{ "overlap-down", overlap, UPSTREAM, 0, false },
	{ "close-races", close_races, 0, 0, false },
};
_Static_assert(ARRAY_SIZE(all_cases) <= SELFTEST_CASES_MAX, "room for the results");

int relay_selftest(struct fastpath *fastpath, struct selftest_case *cases, size_t *ret_count,
		   char *reason)
{
	return selftest_run(fastpath, all_cases, ARRAY_SIZE(all_cases), cases, ret_count, reason);
}
