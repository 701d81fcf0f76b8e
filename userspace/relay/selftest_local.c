/* What a client on this host may see of it that its messages go straight to the upstream (kern/local.h):
 * nothing at all. In a pair, the client's end is such a client. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "base/names.h"
#include "net/sock.h"
#include "relay/selftest_run.h"

#define STREAM_BYTES   (2U << 20)
#define SOME_BYTES     65536U
#define SMALL_CHUNK    1000U
#define PING_PONGS     500
#define RESETS         40
#define SMALL_BUFFER   4096
#define LARGE_CHUNK    (4 * SMALL_BUFFER) /* never fits there */
#define ORDER_ROUNDS   50
#define TINY_BUFFER    16384
#define STALL_QUIET_MS 12
/* In the upstream's send queue, and then in the client's own and at the two receivers. */
#define STALL_LIMIT    (384U << 10)
#define STALL_BYTES    (1U << 20)

static bool is_taken(const struct pair *pair)
{
	return pair->started && pair->relay.gate &&
	       gate_state(pair->relay.gate, CLIENT) == SEAM_GATE_LOCAL;
}

static int begin(struct pair *pair, int buffer)
{
	int r = pair_open(pair, buffer);

	if (r)
		return r;
	pair_start(pair);
	return is_taken(pair) ? 0 : pair_fail(pair->rig, "the client's socket was not taken");
}

static int stream(struct pair *pair, int chunk)
{
	int r = begin(pair, 0);

	pair->way[CLIENT].chunk = (uint32_t)chunk;
	if (!r)
		r = pair_send_both(pair, chunk ? STREAM_BYTES / 8 : STREAM_BYTES);
	return r ? r : pair_end_well(pair);
}

/* Bytes wait at the accepted socket when it is inserted: what is sent next must not pass them by. */
static int early_bytes(struct pair *pair, int side)
{
	int r = pair_open(pair, 0);

	pair->way[CLIENT].total = SOME_BYTES / 2;
	pair->way[CLIENT].chunk = SMALL_CHUNK;
	while (!r && pair->way[CLIENT].sent < SOME_BYTES / 2)
		r = pair_turn(pair);
	if (r)
		return r;
	pair_start(pair);
	r = pair_send_both(pair, SOME_BYTES);
	return r ? r : pair_end_well(pair);
}

static int late_entry(struct pair *pair, int side)
{
	int r = pair_begin(pair);

	if (!r)
		r = pair_send_both(pair, STREAM_BYTES);
	if (!r && !is_taken(pair))
		return pair_fail(pair->rig, "the client's socket was not taken");
	if (!r)
		r = pair_send(pair, CLIENT, SMALL_CHUNK);
	return r ? r : pair_end_well(pair);
}

static int ping_pong(struct pair *pair, int side)
{
	int r = begin(pair, 0);

	for (int i = 0; i < PING_PONGS && !r; i++) {
		r = pair_send(pair, CLIENT, 1);
		if (!r)
			r = pair_send(pair, UPSTREAM, 1);
	}
	if (!r && pair_kernel_bytes(pair, CLIENT) < PING_PONGS)
		r = pair_fail(pair->rig, "%llu of %d messages went straight",
			      (unsigned long long)pair_kernel_bytes(pair, CLIENT), PING_PONGS);
	return r ? r : pair_end_well(pair);
}

/* A message that does not fit goes over loopback. The next would fit, but must not overtake it. */
static int order(struct pair *pair, int side)
{
	int r = pair_open(pair, 0);

	if (r)
		return r;
	if (sock_set_send_buffer(pair->side[UPSTREAM].fd, 2 * SMALL_BUFFER))
		return pair_fail(pair->rig, "SO_SNDBUF: %s", strerror(errno));
	pair_start(pair);
	pair->way[CLIENT].chunk = LARGE_CHUNK;
	for (int i = 0; i < ORDER_ROUNDS && !r; i++)
		r = pair_send(pair, CLIENT, LARGE_CHUNK + 1);
	if (!r)
		r = pair_send_both(pair, SMALL_CHUNK);
	return r ? r : pair_end_well(pair);
}

/* send() says EAGAIN: does poll() agree, or would the client spin? */
static int check_blocked(struct pair *pair)
{
	struct pollfd client = { .fd = pair->end[CLIENT].fd, .events = POLLOUT };

	if (poll(&client, 1, 0) < 0)
		return pair_fail(pair->rig, "poll: %s", strerror(errno));
	return client.revents ? pair_fail(pair->rig, "POLLOUT although send() says EAGAIN") : 0;
}

static int stalled_server(struct pair *pair, int side)
{
	struct pair_way *way = &pair->way[CLIENT];
	int r = begin(pair, TINY_BUFFER);

	if (r)
		return r;
	way->total = STALL_BYTES;
	way->stalled = true;
	r = pair_block(pair, CLIENT, STALL_QUIET_MS);
	if (!r && way->sent > STALL_LIMIT)
		r = pair_fail(pair->rig, "%llu bytes were taken for a reader that stood still",
			      (unsigned long long)way->sent);
	if (!r)
		r = check_blocked(pair);
	if (!r)
		r = pair_go_on(pair, CLIENT, SMALL_CHUNK);
	return r ? r : pair_finish(pair);
}

static int half_close(struct pair *pair, int side)
{
	int r = begin(pair, 0);

	if (!r)
		r = pair_send_both(pair, SMALL_CHUNK);
	pair->way[side].fin = true;
	if (!r)
		r = pair_send(pair, side, SOME_BYTES);
	if (!r)
		r = pair_send(pair, !side, 4 * SOME_BYTES);
	return r ? r : pair_end_well(pair);
}

static int bare_fin(struct pair *pair, int side)
{
	int r = begin(pair, 0);

	pair->way[side].fin = true;
	if (!r)
		r = pair_exchange(pair);
	if (!r)
		r = pair_send(pair, !side, SOME_BYTES);
	return r ? r : pair_finish(pair);
}

/* MSG_MORE holds the last message back in the upstream's send queue: the FIN has to push it out. */
static int fin_with_data(struct pair *pair, int side)
{
	int r = begin(pair, 0);

	if (!r)
		r = pair_send_both(pair, SMALL_CHUNK);
	pair->way[CLIENT].fin = pair->way[CLIENT].fin_joined = true;
	if (!r)
		r = pair_send(pair, CLIENT, SMALL_CHUNK);
	return r ? r : pair_end_well(pair);
}

static int reset_by(struct pair *pair, int side)
{
	const struct pair_way *way = &pair->way[side];
	int r = begin(pair, 0);

	if (!r)
		r = pair_send_both(pair, SOME_BYTES);
	if (r)
		return r;
	pair_end_close(pair, side, true);
	while (!r && (pair->started || !way->receive_error))
		r = pair_turn(pair);
	if (!r && way->receive_error != -ECONNRESET)
		r = pair_fail(pair->rig, "the other end was told \"%s\"",
			      strerror(-way->receive_error));
	return r;
}

/* While messages are under way. */
static int resets(struct pair *pair, int side)
{
	int r = 0;

	for (int i = 0; i < RESETS && !r; i++) {
		struct pair one;

		pair_init(&one, pair->rig);
		r = begin(&one, 0);
		one.way[CLIENT].total = one.way[UPSTREAM].total = STREAM_BYTES;
		for (int turn = i % 4; turn && !r; turn--)
			r = pair_turn(&one);
		pair_end_close(&one, i & 1, i & 2);
		for (int turn = 0; turn < 3 && !r; turn++)
			r = pair_turn(&one);
		pair_close(&one);
	}
	return r;
}

/* A blocking recv() in a sockmap returns EAGAIN for a signal or a reset: such a socket is left alone. */
static int blocking_client(struct pair *pair, int side)
{
	int r = pair_open(pair, 0), flags;

	if (r)
		return r;
	flags = fcntl(pair->end[CLIENT].fd, F_GETFL);
	(void)fcntl(pair->end[CLIENT].fd, F_SETFL, flags & ~O_NONBLOCK);
	pair_start(pair);
	(void)fcntl(pair->end[CLIENT].fd, F_SETFL, flags);
	if (is_taken(pair))
		return pair_fail(pair->rig, "a blocking socket was taken");
	r = pair_send_both(pair, SOME_BYTES);
	return r ? r : pair_end_well(pair);
}

/* 6.18.44: 0, as if nothing was there; 6.1.192 and 6.12.117 are right. */
static int fionread(struct pair *pair, int side)
{
	int waiting = -1, r = begin(pair, 0);

	pair->way[UPSTREAM].total = SMALL_CHUNK;
	pair->way[UPSTREAM].stalled = true;
	while (!r && recv(pair->end[CLIENT].fd, pair->rig->received, SMALL_CHUNK, MSG_PEEK) !=
			     SMALL_CHUNK)
		r = pair_turn(pair);
	if (!r && (ioctl(pair->end[CLIENT].fd, FIONREAD, &waiting) < 0 || waiting != SMALL_CHUNK))
		r = pair_fail(pair->rig, "FIONREAD says %d although %u bytes wait", waiting,
			      SMALL_CHUNK);
	return r;
}

static const struct selftest_ops all_cases[] = {
	{ "local-stream", stream, 0, 0, false },
	{ "local-small", stream, SMALL_CHUNK, 0, false },
	{ "local-early-bytes", early_bytes, 0, 0, false },
	{ "local-late-entry", late_entry, 0, 16, false },
	{ "local-ping-pong", ping_pong, 0, 0, false },
	{ "local-order", order, 0, 0, false },
	{ "local-stalled-server", stalled_server, 0, 0, false },
	{ "local-half-close-client", half_close, CLIENT, 0, false },
	{ "local-half-close-server", half_close, UPSTREAM, 0, false },
	{ "local-bare-fin-client", bare_fin, CLIENT, 0, false },
	{ "local-bare-fin-server", bare_fin, UPSTREAM, 0, false },
	{ "local-fin-with-data", fin_with_data, 0, 0, false },
	{ "local-reset-by-client", reset_by, CLIENT, 0, false },
	{ "local-reset-by-server", reset_by, UPSTREAM, 0, false },
	{ "local-resets", resets, 0, 0, false },
	{ "local-blocking-client", blocking_client, 0, 0, false },
	{ "local-fionread", fionread, 0, 0, true },
};
_Static_assert(ARRAY_SIZE(all_cases) <= SELFTEST_CASES_MAX, "room for the results");

int relay_selftest_local(struct fastpath *fastpath, struct selftest_case *cases, size_t *ret_count,
			 char *reason)
{
	return selftest_run(fastpath, all_cases, ARRAY_SIZE(all_cases), cases, ret_count, reason);
}
