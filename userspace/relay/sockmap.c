/* sockmap - the kernel moves the bytes; user space carries a direction whenever its gate is shut.
 *
 * While the gate is open the sockets are not listened to: a redirected segment wakes nobody. What has no
 * event is asked for from a timer, and only while somebody waits for it.
 */
#include <errno.h>
#include <sys/socket.h>
#include "net/sock.h"
#include "relay/relay.h"

#define CAP_FIRST	65536U		/* bytes that may wait in the kernel for a send queue */
#define CAP_MOST	(4U << 20)
#define RATE_MS		10U		/* a redirect worker that finds the queue full waits for a jiffy */
#define GROW_STEP_MOST	(256ULL << 20)
#define SPILLS_MOST	64U
#define BYTES_A_SPILL	(128ULL << 10)	/* fewer are not worth the trouble */

/* Grows the send queue and the cap with the rate: whatever a jiffy, or a round trip, can use. */
static void grow(struct pump *p, uint64_t redirected)
{
	struct relay_env *env = p->relay->env;
	uint64_t total = p->bytes + redirected, ms = env->loop->now_ms - p->mark_ms;
	uint64_t rate = (total - p->mark_bytes) / (ms ? ms : 1);
	uint64_t want = rate * RATE_MS, trip = rate * 2 * sock_rtt_us(p->to->fd) / 1000, extra;
	uint32_t size = CAP_FIRST;

	p->mark_bytes = total;
	p->mark_ms = env->loop->now_ms;
	if (trip > want)
		want = trip;
	if (want > env->buffer_limit)
		want = env->buffer_limit;
	while (size < want && size < env->buffer_limit)
		size *= 2;
	if (size > env->buffer_limit)
		size = (uint32_t)env->buffer_limit;
	extra = size > p->buffers ? size - p->buffers : 0;
	if (!extra || size <= sock_send_buffer(p->to->fd) || !mem_budget_take(&env->memory, extra))
		return;
	p->buffers += (uint32_t)extra;
	(void)sock_set_send_buffer(p->to->fd, size);
	gate_set_cap(p->relay->gate, p->side, size / 4 > CAP_MOST ? CAP_MOST : size / 4);
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

	if (!mem_budget_take(&env->memory, 2 * CAP_FIRST))
		return -ENOBUFS;
	r = gate_insert(&env->gates, fd, label, CAP_FIRST, relay, &relay->gate);
	if (r) {
		mem_budget_give(&env->memory, 2 * CAP_FIRST);
		return r;
	}
	for (int side = 0; side < SIDES; side++) {
		struct pump *p = &relay->pump[side];

		p->buffers = CAP_FIRST;
		p->from->io.have |= EPOLLIN;	/* recv() runs the verdict over what is queued */
		if (p->bytes >= RELAY_BULK_BYTES)
			grow_and_rearm(p);
		else
			gate_grow_at(relay->gate, side, RELAY_BULK_BYTES);
	}
	return 0;
}

void relay_sockmap_event(struct gate *gate, int side, enum seam_event_kind kind)
{
	struct relay *relay = gate->owner;

	if (kind == SEAM_EVENT_GROW)
		grow_and_rearm(&relay->pump[side]);
	else
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

/* Bytes that the gate left to us, 0: none or the end, -errno. */
static int receive(struct pump *p)
{
	struct relay_env *env = p->relay->env;
	ssize_t n = gate_recv(p->relay->gate, p->side, env->scratch, RELAY_SCRATCH);
	int r;

	if (n == -EAGAIN) {
		loop_io_drained(&p->from->io, EPOLLIN);
		if (p->from->io.have & EPOLLRDHUP)	/* no event tells when the rest comes */
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
	r = relay_hold(p, env->scratch, (uint32_t)n);
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
		if (gate_state(p->relay->gate, p->side) == SEAM_GATE_SPILLED) {
			r = drained(p);		/* until then it waits where the window counts it */
			if (r <= 0)
				return r;
		}
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
	if (gate_state(p->relay->gate, p->side) == SEAM_GATE_BROKEN) {
		p->relay->env->broken++;
		return relay_fail(p, p->to, -ENOBUFS);
	}
	count_spills(p);
	return carry(p);
}

static int sockmap_flushed(struct pump *p)
{
	return p->held ? 0 : drained(p);
}

const struct relay_ops relay_sockmap_ops = { .name = "sockmap",
					     .run = sockmap_run,
					     .flushed = sockmap_flushed };
