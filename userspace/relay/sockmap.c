/* sockmap - the kernel moves the bytes; user space carries a direction whenever its gate is shut.
 *
 * While the gate is open the sockets are not listened to: a redirected segment wakes nobody. What has no
 * event is asked for from a timer, and only while somebody waits for it.
 */
#include <errno.h>
#include <sys/socket.h>
#include "net/sock.h"
#include "relay/relay.h"

#define RATE_MS         16U    /* the redirect worker may have to wait that long for a processor */
#define NARROW_LEAST    16384U /* window of a sender that is to slow down */
#define NARROW_SEGMENTS 4U
#define NEAR_RTT_US     5000U
#define RESUME_BYTES    (8ULL << 20)
#define RESUME_POLLS    4U
#define GROW_STEP_MOST  (256ULL << 20)
#define SPILLS_MOST     64U
#define BYTES_A_SPILL   (128ULL << 10) /* fewer are not worth the trouble */

/* What a send queue should hold at the present rate, in bytes a millisecond: a few milliseconds of it, or
 * twice a round trip. */
static uint32_t wanted_bytes(const struct pump *p, uint64_t rate)
{
	uint64_t want = rate * RATE_MS, trip = rate * 2 * sock_rtt_us(p->to->fd) / 1000;
	uint64_t limit = p->relay->env->buffer_limit;
	uint32_t size = p->relay->env->first_buffer;

	if (trip > want)
		want = trip;
	while (size < want && size < limit)
		size *= 2;
	return size < limit ? size : (uint32_t)limit;
}

/* From the budget, and only upwards: less than the kernel tuned it to would slow the flow down. */
static void set_buffer(struct pump *p, uint32_t size)
{
	if (size <= p->buffers || !mem_budget_take(&p->relay->env->memory, size - p->buffers))
		return;
	p->buffers = size;
	if (size > sock_send_buffer(p->to->fd))
		(void)sock_set_send_buffer(p->to->fd, size);
}

static void grow(struct pump *p, uint64_t redirected)
{
	uint64_t total = p->bytes + redirected, ms = p->relay->env->loop->now_ms - p->mark_ms;

	set_buffer(p, wanted_bytes(p, (total - p->mark_bytes) / (ms ? ms : 1)));
	p->mark_bytes = total;
	p->mark_ms = p->relay->env->loop->now_ms;
}

static void grow_and_rearm(struct pump *p)
{
	uint64_t redirected = relay_kernel_bytes(p->relay, p->side), step = redirected;

	grow(p, redirected);
	if (step < RELAY_BULK_BYTES)
		step = RELAY_BULK_BYTES;
	if (step > GROW_STEP_MOST)
		step = GROW_STEP_MOST;
	gate_grow_at(p->relay->gate, p->side, redirected + step);
}

int relay_sockmap_enter(struct relay *relay, const struct gate_label *label)
{
	struct relay_env *env = relay->env;
	int fd[2] = { relay->pump[CLIENT].from->fd, relay->pump[UPSTREAM].from->fd }, r;

	if (mem_budget_left(&env->memory) < 2ULL * env->first_buffer)
		return -ENOBUFS;
	r = gate_insert(&env->gates, fd, label, relay, &relay->gate);
	if (r)
		return r;
	for (int side = 0; side < SIDES; side++) {
		struct pump *p = &relay->pump[side];

		set_buffer(p, env->first_buffer);
		p->from->io.have |= EPOLLIN; /* recv() runs the verdict over what is queued */
		if (p->bytes >= RELAY_BULK_BYTES)
			grow_and_rearm(p);
		else
			gate_grow_at(relay->gate, side, RELAY_BULK_BYTES);
	}
	return 0;
}

/* The peer falls behind. What is redirected is acknowledged at once, so the sender has to be slowed by its
 * window. Not to nothing, or it would have to probe before it finds the window open again; and only a near
 * one, since the window has to grow again afterwards, by the round trip. */
static void narrow(struct pump *p)
{
	uint32_t least = NARROW_SEGMENTS * sock_receive_mss(p->from->fd);

	if (p->clamp || sock_rtt_us(p->from->fd) > NEAR_RTT_US)
		return;
	p->clamp = sock_window_clamp(p->from->fd);
	if (sock_set_window_clamp(p->from->fd, least > NARROW_LEAST ? least : NARROW_LEAST))
		p->clamp = 0;
}

static void widen(struct pump *p)
{
	(void)sock_set_window_clamp(p->from->fd, p->clamp);
	p->clamp = 0;
	gate_relieve(p->relay->gate, p->side);
}

/* The window is narrow: under pressure until the peer's queue is short; after a spill until the gate opens
 * again, which it does when a segment finds user space with nothing in hand. 0, -errno */
static int relieve(struct pump *p)
{
	struct gate *gate = p->relay->gate;
	bool open = gate_carries(gate, p->side);
	int64_t queued;

	if (!p->clamp)
		return 0;
	queued = open ? gate_queued(gate, p->side) : 0;
	if (queued < 0)
		return relay_fail(p, p->to, (int)queued);
	if (open ? queued <= p->buffers / 4 : ++p->polls > RESUME_POLLS) {
		widen(p);
		return 0;
	}
	if (!open || queued < p->queued) /* do not be late */
		p->relay->poll_ms = 1;
	p->queued = queued;
	relay_poll(p->relay);
	return 0;
}

/* User space has carried the direction for a while since the gate was shut: could the kernel again? */
static void try_to_resume(struct pump *p)
{
	if (p->clamp || p->held || p->bytes < p->resume_bytes ||
	    gate_carries(p->relay->gate, p->side) || gate_dir(p->relay->gate, p->side)->hold)
		return;
	p->resume_bytes = p->bytes + RESUME_BYTES;
	p->polls = 0;
	narrow(p);
	if (p->clamp)
		relay_poll(p->relay);
}

void relay_sockmap_event(struct gate *gate, int side, enum seam_event_kind kind)
{
	struct relay *relay = gate->owner;

	if (kind == SEAM_EVENT_GROW) {
		grow_and_rearm(&relay->pump[side]);
		return;
	}
	if (kind == SEAM_EVENT_PRESSURE) {
		narrow(&relay->pump[side]);
		if (!relay->pump[side].clamp)
			return;
	}
	relay->env->wake(relay);
}

/* 1, 0 with the poll set, -errno */
static int drained(struct pump *p)
{
	int r = gate_drained(p->relay->gate, p->side);

	if (r < 0)
		return relay_fail(p, p->to, r);
	if (!r)
		relay_poll_later(p);
	else
		p->relay->poll_ms = 1;
	return r;
}

/* A peer that is slow all the time is better served by user space, which does not read ahead. */
static void count_spills(struct pump *p)
{
	struct relay *relay = p->relay;
	uint32_t spills = gate_dir(relay->gate, p->side)->spills;

	if (spills == p->spills)
		return;
	relay->env->spilled += spills - p->spills;
	p->spills = spills;
	p->resume_bytes = p->bytes;
	if (spills >= SPILLS_MOST && relay_kernel_bytes(relay, p->side) / spills < BYTES_A_SPILL) {
		gate_hold(relay->gate, p->side);
		relay->refused = REFUSED_SPILLS;
	}
}

static int flush(struct pump *p)
{
	uint32_t sent;
	int r;

	if (!p->held)
		return 1;
	r = drained(p);
	if (r <= 0)
		return r;
	r = relay_flush_held(p, &sent);
	if (sent)
		gate_wrote(p->relay->gate, p->side, sent);
	return r;
}

/* Writes what was just read, or holds it: what was redirected before goes first. */
static int pass_on(struct pump *p, const uint8_t *data, uint32_t bytes)
{
	ssize_t sent = 0;
	int r = drained(p);

	if (r < 0)
		return r;
	if (r) {
		sent = send(p->to->fd, data, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN)
			return relay_fail(p, p->to, -errno);
		if (sent < 0)
			sent = 0;
		p->bytes += (uint64_t)sent;
		gate_wrote(p->relay->gate, p->side, (uint32_t)sent);
	}
	return sent < (ssize_t)bytes ? relay_hold(p, data + sent, bytes - (uint32_t)sent) : 0;
}

/* Bytes that the gate left to us, 0: none or the end, -errno. */
static int receive(struct pump *p)
{
	struct relay_env *env = p->relay->env;
	ssize_t n = gate_recv(p->relay->gate, p->side, env->scratch, RELAY_SCRATCH);
	int r;

	if (n == -EAGAIN) {
		loop_io_drained(&p->from->io, EPOLLIN);
		if (p->from->io.have & EPOLLRDHUP) /* no event tells when the rest comes */
			relay_poll_later(p);
		return 0;
	}
	if (n < 0)
		return relay_fail(p, p->from, (int)n);
	if (!n) {
		p->eof = true;
		return 0;
	}
	p->relay->reads++;
	r = pass_on(p, env->scratch, (uint32_t)n);
	return r ? r : (int)n;
}

static int carry(struct pump *p)
{
	uint32_t moved = 0;

	while (moved < RELAY_TURN_BYTES) {
		int r = flush(p);

		if (r <= 0 || p->eof)
			return r < 0 ? r : 0;
		if (!(p->from->io.have & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
			return 0;
		r = receive(p);
		if (r <= 0)
			return r;
		moved += (uint32_t)r;
	}
	return 0;
}

/* While the kernel owns a direction only its end is an event; EPOLLOUT would come for every turn of the
 * redirect worker. */
static int choose_mask(struct pump *p)
{
	const struct pump *back = &p->relay->pump[!p->side];
	uint32_t mask = EPOLLRDHUP | (relay_wants_out(back) ? EPOLLOUT : 0);
	int r;

	if (!p->eof && !gate_carries(p->relay->gate, p->side))
		mask |= EPOLLIN;
	if (mask == p->mask)
		return 0;
	r = loop_io_mask(&p->from->io, mask);
	if (!r)
		p->mask = mask;
	return r;
}

int relay_sockmap_listen(struct relay *relay)
{
	int r = choose_mask(&relay->pump[CLIENT]);

	return r ? r : choose_mask(&relay->pump[UPSTREAM]);
}

static int sockmap_run(struct pump *p)
{
	int r;

	if (gate_state(p->relay->gate, p->side) == SEAM_GATE_BROKEN) {
		p->relay->env->broken++;
		return relay_fail(p, p->to, -ENOBUFS);
	}
	count_spills(p);
	r = relieve(p);
	if (!r)
		r = carry(p);
	if (!r)
		try_to_resume(p);
	return r;
}

static int sockmap_flushed(struct pump *p)
{
	return p->held ? 0 : drained(p);
}

const struct relay_ops relay_sockmap_ops = { .name = "sockmap",
					     .run = sockmap_run,
					     .flushed = sockmap_flushed };
