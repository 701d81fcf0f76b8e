/* What the two ends of a pair send, receive and compare; selftest_pair.h has the contracts. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "base/clock.h"
#include "relay/selftest_pair.h"

#define TURN_BYTES   (256U << 10) /* of a way, so that both ways and the relay get theirs */
#define TURN_WAIT_MS 5

static const char *const way_names[SIDES] = { "client to server", "server to client" };

void pair_end_close(struct pair *pair, int side, bool reset)
{
	struct pair_way *way = &pair->way[side];

	way->total = way->sent;
	way->fin_sent |= !reset;
	stream_close(&pair->end[side], reset);
}

static void send_fin(struct pair *pair, int side)
{
	struct pair_way *way = &pair->way[side];

	if (shutdown(pair->end[side].fd, SHUT_WR) < 0 && !way->send_error)
		way->send_error = -errno;
	way->fin_sent = true;
}

static void push(struct pair *pair, int side)
{
	struct pair_way *way = &pair->way[side];
	uint64_t stop = way->sent + TURN_BYTES;

	while (way->sent < way->total && way->sent < stop && !way->send_error) {
		uint64_t left = way->total - way->sent,
			 limit = way->chunk ? way->chunk : PAIR_PATTERN_BYTES;
		size_t size = left < limit ? left : limit;
		bool joined = way->fin && way->fin_joined && size == left;
		ssize_t n = send(pair->end[side].fd, pair_pattern(pair->rig, side, way->sent), size,
				 MSG_NOSIGNAL | (joined ? MSG_MORE : 0));

		if (n < 0 && errno == EAGAIN) {
			loop_io_drained(&pair->end[side].io, EPOLLOUT);
			return;
		}
		if (n < 0)
			way->send_error = -errno;
		else
			way->sent += (uint64_t)n;
	}
	if (way->sent == way->total && way->fin && !way->fin_sent)
		send_fin(pair, side);
}

static int check_bytes(struct pair *pair, int side, size_t n)
{
	struct pair_way *way = &pair->way[side];
	const uint8_t *wanted = pair_pattern(pair->rig, side, way->received);
	unsigned long long now = way->received + n;
	size_t i = 0;

	if (now > way->sent)
		return pair_fail(pair->rig, "%s: %llu bytes more than were sent", way_names[side],
				 now - way->sent);
	if (memcmp(pair->rig->received, wanted, n) != 0) {
		while (pair->rig->received[i] == wanted[i])
			i++;
		return pair_fail(pair->rig, "%s: byte %llu is not what was sent", way_names[side],
				 now - n + i);
	}
	way->received = now;
	return 0;
}

static int take_fin(struct pair *pair, int side)
{
	struct pair_way *way = &pair->way[side];

	if (pair->way[!side].send_error) { /* which was told the reason, once */
		way->receive_error = pair->way[!side].send_error;
		return 0;
	}
	if (!way->fin_sent || way->received != way->sent)
		return pair_fail(pair->rig, "%s: FIN after %llu of %llu bytes", way_names[side],
				 (unsigned long long)way->received, (unsigned long long)way->sent);
	way->fin_received = true;
	return 0;
}

/* Reads what came from the end on @side, at the other one. */
static int pull(struct pair *pair, int side)
{
	struct pair_way *way = &pair->way[side];
	struct stream *to = &pair->end[!side];
	uint64_t stop = way->received + TURN_BYTES;

	while (way->received < stop && !way->fin_received && !way->receive_error) {
		ssize_t n = recv(to->fd, pair->rig->received, PAIR_PATTERN_BYTES, 0);
		int r = 0;

		if (n < 0 && errno == EAGAIN) {
			loop_io_drained(&to->io, EPOLLIN | EPOLLRDHUP);
			return 0;
		}
		if (n < 0)
			way->receive_error = -errno;
		else
			r = n ? check_bytes(pair, side, (size_t)n) : take_fin(pair, side);
		if (r)
			return r;
	}
	return 0;
}

static int out_of_time(struct pair *pair)
{
	const struct pair_way *way = pair->way;
	char at[SIDES][64];

	for (int side = 0; side < SIDES; side++)
		snprintf(at[side], sizeof(at[side]), "%llu of %llu bytes%s",
			 (unsigned long long)way[side].received,
			 (unsigned long long)way[side].total,
			 way[side].fin_sent && !way[side].fin_received ? ", no FIN" : "");
	return pair_fail(pair->rig, "timed out: up %s, down %s", at[CLIENT], at[UPSTREAM]);
}

static bool reads(const struct pair *pair, int side)
{
	const struct pair_way *in = &pair->way[!side];

	return pair->end[side].fd >= 0 && !in->stalled && !in->fin_received && !in->receive_error;
}

int pair_turn(struct pair *pair)
{
	int r;

	if (clock_ms() > pair->rig->deadline_ms)
		return out_of_time(pair);
	for (int side = 0; side < SIDES; side++) {
		const struct pair_way *out = &pair->way[side];

		if (pair->end[side].fd < 0)
			continue;
		push(pair, side);
		loop_io_want(&pair->end[side].io, (reads(pair, side) ? EPOLLIN | EPOLLRDHUP : 0) |
							  (out->sent < out->total ? EPOLLOUT : 0));
	}
	r = loop_run_once(&pair->rig->loop, TURN_WAIT_MS);
	if (r)
		return pair_fail(pair->rig, "epoll_wait: %s", strerror(-r));
	for (int side = 0; side < SIDES && !r; side++)
		if (reads(pair, side))
			r = pull(pair, !side);
	return r;
}

/* 1: all of it has come, 0, -EIO */
static int settled(struct pair *pair, int side)
{
	const struct pair_way *way = &pair->way[side];
	int err = way->send_error ? way->send_error : way->receive_error;

	if (err)
		return pair_fail(pair->rig, "%s: %s after %llu of %llu bytes", way_names[side],
				 strerror(-err), (unsigned long long)way->received,
				 (unsigned long long)way->total);
	return way->received == way->total && (!way->fin || way->fin_received);
}

int pair_exchange(struct pair *pair)
{
	for (;;) {
		int up = settled(pair, CLIENT), down = settled(pair, UPSTREAM), r;

		if (up < 0 || down < 0)
			return -EIO;
		if (up && down)
			return 0;
		r = pair_turn(pair);
		if (r)
			return r;
	}
}

int pair_block(struct pair *pair, int side, uint64_t quiet_ms)
{
	const struct pair_way *way = &pair->way[side];
	uint64_t sent = way->sent, since = clock_ms();

	while (clock_ms() - since < quiet_ms) {
		int r = pair_turn(pair);

		if (r)
			return r;
		if (way->sent != sent) {
			sent = way->sent;
			since = clock_ms();
		}
	}
	return 0;
}

int pair_finish(struct pair *pair)
{
	int r;

	pair->way[CLIENT].fin = pair->way[UPSTREAM].fin = true;
	r = pair_exchange(pair);
	while (!r && pair->started)
		r = pair_turn(pair);
	if (r)
		return r;
	if (pair->result != RELAY_DONE)
		return pair_fail(pair->rig, "the relay ended with %s", strerror(-pair->result));
	for (int side = 0; side < SIDES; side++)
		if (pair->relayed[side] + pair->by_hand[side] != pair->way[side].received)
			return pair_fail(pair->rig, "%s: %llu bytes, but %llu were counted",
					 way_names[side],
					 (unsigned long long)pair->way[side].received,
					 (unsigned long long)pair->relayed[side]);
	return 0;
}

int pair_begin(struct pair *pair)
{
	int r = pair_open(pair, 0);

	if (!r)
		pair_start(pair);
	return r;
}

int pair_send(struct pair *pair, int side, uint32_t bytes)
{
	pair->way[side].total += bytes;
	return pair_exchange(pair);
}

int pair_go_on(struct pair *pair, int side, uint32_t bytes)
{
	uint64_t before;
	int r;

	pair->way[side].stalled = false;
	r = pair_exchange(pair);
	before = pair_kernel_bytes(pair, side);
	if (!r)
		r = pair_send(pair, side, bytes);
	if (!r && pair_kernel_bytes(pair, side) == before)
		r = pair_fail(pair->rig, "the kernel moved nothing after the reader went on");
	return r;
}

int pair_send_both(struct pair *pair, uint32_t bytes)
{
	pair->way[CLIENT].total += bytes;
	return pair_send(pair, UPSTREAM, bytes);
}

int pair_check_kernel(struct pair *pair, int side)
{
	if (pair_kernel_bytes(pair, side))
		return 0;
	if (pair->started && !pair->relay.gate)
		return pair_fail(pair->rig, "the pair did not enter the sockmap: %s",
				 relay_refusal_names[pair->relay.refused]);
	return pair_fail(pair->rig, "%s: nothing was redirected", way_names[side]);
}

int pair_end_well(struct pair *pair)
{
	int r = pair_check_kernel(pair, CLIENT);

	if (!r)
		r = pair_check_kernel(pair, UPSTREAM);
	return r ? r : pair_finish(pair);
}
