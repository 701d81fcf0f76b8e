#include "relay/relay.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/names.h"
#include "net/sock.h"
#include "relay/opening.h"

#define POLL_FIRST_MS       1U
#define POLL_LAST_MS        32U
#define BUFFER_LEAST        65536U
#define BUFFER_MOST         1048576U
#define SPLICE_BYTES_A_READ 16384U /* below, copy is as fast and holds no pipe */
#define SPLICE_READS        16U

NAME_TABLE(relay_refusal_names, REFUSED_COUNT, "", "unfit", "no-slot", "memory-limit",
	   "sockets-refused", "kernel-tainted", "too-many-spills", "mptcp");

/* Half of the memory, divided by all directions: then every flow finds a place in the sockmap. */
static uint32_t first_buffer(uint64_t memory, uint32_t flows)
{
	uint64_t share = memory / 4 / (flows ? flows : 1);

	return share < BUFFER_LEAST  ? BUFFER_LEAST
	       : share > BUFFER_MOST ? BUFFER_MOST
				     : (uint32_t)share;
}

int relay_env_init(struct relay_env *env, const struct config_relay *config, uint32_t workers,
		   uint32_t flows, struct loop *loop, void (*wake)(struct relay *))
{
	*env = (struct relay_env){ .loop = loop,
				   .method = config->method,
				   .enter_after = config->enter_after,
				   .buffer_limit = config->buffer_limit,
				   .memory.limit = config->memory_limit / workers,
				   .first_buffer = first_buffer(config->memory_limit, flows),
				   .gates_why = REFUSED_UNFIT,
				   .packet.stall_after = config->stall_after,
				   .wake = wake };
	pipe_pool_init(&env->pipes);
	env->scratch = malloc(RELAY_SCRATCH);
	return env->scratch ? 0 : -ENOMEM;
}

void relay_env_deinit(struct relay_env *env)
{
	pipe_pool_deinit(&env->pipes);
	gate_set_deinit(&env->gates);
	free(env->scratch);
	env->scratch = NULL;
}

int relay_env_open_gates(struct relay_env *env, struct fastpath *fastpath, uint16_t worker)
{
	int r = gate_set_init(&env->gates, fastpath, worker, env->loop, relay_sockmap_event);

	env->gates_open = !r;
	return r;
}

static void on_poll(struct timer *timer)
{
	struct relay *relay = container_of(timer, struct relay, poll);

	relay->env->wake(relay);
}

const struct relay_ops *relay_first_ops(const struct relay_env *env)
{
	return env->method == RELAY_SPLICE ? &relay_splice_ops : &relay_copy_ops;
}

void relay_start(struct relay *relay, struct relay_env *env, struct stream *client,
		 struct stream *upstream)
{
	const struct relay_ops *ops = relay_first_ops(env);

	*relay = (struct relay){ .env = env, .failed = -1, .poll_ms = POLL_FIRST_MS };
	for (int side = 0; side < SIDES; side++)
		relay->pump[side] = (struct pump){ .ops = ops,
						   .relay = relay,
						   .from = side == CLIENT ? client : upstream,
						   .to = side == CLIENT ? upstream : client,
						   .side = (uint8_t)side,
						   .mask = LOOP_IO_ALL,
						   .mark_ms = env->loop->now_ms };
	timer_init(&relay->poll, on_poll);
}

void relay_poll_later(struct pump *pump)
{
	pump->waits = true;
	relay_poll(pump->relay);
}

void relay_poll(struct relay *relay)
{
	if (timer_running(&relay->poll))
		return;
	timer_start(&relay->poll, &relay->env->loop->timers, relay->poll_ms);
	if (relay->poll_ms < POLL_LAST_MS)
		relay->poll_ms *= 2;
}

void relay_poll_anew(struct relay *relay)
{
	timer_stop(&relay->poll, &relay->env->loop->timers);
	relay->poll_ms = POLL_FIRST_MS;
}

int relay_fail(struct pump *pump, const struct stream *stream, int err)
{
	pump->relay->failed = stream == pump->from ? (int8_t)pump->side : (int8_t)!pump->side;
	return err;
}

int relay_hold(struct pump *pump, const uint8_t *data, uint32_t bytes)
{
	pump->held = malloc(bytes);
	if (!pump->held)
		return -ENOMEM;
	memcpy(pump->held, data, bytes);
	pump->held_at = 0;
	pump->held_bytes = pump->held_size = bytes;
	pump->relay->env->memory.used += bytes; /* read_size() asked before */
	return 0;
}

static void drop_held(struct pump *pump)
{
	if (!pump->held)
		return;
	mem_budget_give(&pump->relay->env->memory, pump->held_size);
	free(pump->held);
	pump->held = NULL;
}

int relay_flush_held(struct pump *pump, uint32_t *ret_sent)
{
	*ret_sent = 0;
	while (pump->held) {
		ssize_t n = send(pump->to->fd, pump->held + pump->held_at, pump->held_bytes,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			loop_io_drained(&pump->to->io, EPOLLOUT);
			pump->full = true;
			return 0;
		}
		if (n < 0)
			return relay_fail(pump, pump->to, -errno);
		pump->held_at += (uint32_t)n;
		pump->held_bytes -= (uint32_t)n;
		pump->bytes += (uint64_t)n;
		*ret_sent += (uint32_t)n;
		if (!pump->held_bytes)
			drop_held(pump);
	}
	pump->full = false;
	return 1;
}

/* Half-close travels on. The last direction is left to close(), which says the same. */
static int finish(struct pump *pump)
{
	const struct pump *other = &pump->relay->pump[!pump->side];
	int r = pump->ops->flushed(pump);

	if (r <= 0)
		return r;
	if (!other->done && shutdown(pump->to->fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return relay_fail(pump, pump->to, -errno);
	pump->done = true;
	return 0;
}

static int check_sockets(struct relay *relay)
{
	for (int side = 0; side < SIDES; side++) {
		struct stream *stream = relay->pump[side].from;
		int r;

		if (!(stream->io.have & EPOLLERR))
			continue;
		r = sock_error(stream->fd);
		if (r) {
			relay->failed = (int8_t)side;
			return r;
		}
		loop_io_drained(&stream->io, EPOLLERR);
	}
	return 0;
}

bool relay_wants_out(const struct pump *pump)
{
	return pump->full || ((pump->held || pump->piped) && !pump->waits);
}

/* Each stream waits for what its two pumps miss. EPOLLHUP cannot be unwanted: it becomes what it means for
 * the reader, or a pump that waits for something else would spin. */
static void listen_again(struct relay *relay)
{
	for (int side = 0; side < SIDES; side++) {
		const struct pump *out = &relay->pump[side], *in = &relay->pump[!side];
		bool reads = !out->eof && !out->held && !out->piped && !out->waits && !out->rests;
		uint32_t want = (reads ? EPOLLIN | EPOLLRDHUP : 0) |
				(relay_wants_out(in) ? EPOLLOUT : 0);
		struct loop_io *io = &out->from->io;

		if (io->have & EPOLLHUP) {
			io->have |= EPOLLRDHUP;
			loop_io_drained(io, EPOLLHUP);
		}
		loop_io_want(io, want);
	}
}

bool relay_is_empty_handed(const struct relay *relay)
{
	for (int side = 0; side < SIDES; side++) {
		const struct pump *p = &relay->pump[side];

		if (p->eof || p->held || p->piped)
			return false;
	}
	return true;
}

static void become(struct relay *relay, const struct relay_ops *ops)
{
	for (int side = 0; side < SIDES; side++)
		relay->pump[side].ops = ops;
}

void relay_refuse(struct relay *relay, enum relay_refusal why)
{
	relay->refused = why;
	relay->env->refused[why]++;
}

static int enter(struct relay *relay, const struct gate_label *label)
{
	int r = relay_sockmap_enter(relay, label);

	if (!r) {
		become(relay, &relay_sockmap_ops);
		relay->env->entered++;
	} else if (r == -ENOSPC) {
		relay_refuse(relay, REFUSED_SLOTS);
	} else if (r == -ENOBUFS) {
		relay_refuse(relay, REFUSED_MEMORY);
	} else if (r != -EAGAIN) {
		relay_refuse(relay, REFUSED_SOCKETS);
	}
	return r;
}

/* 1: the method changed, and the pumps are to run again. */
static int choose(struct relay *relay, const struct gate_label *label)
{
	const struct relay_env *env = relay->env;
	uint64_t bytes = relay->pump[CLIENT].bytes + relay->pump[UPSTREAM].bytes;

	if (!relay_opening_is_over(relay))
		return 0;
	if (relay_packet_wants(relay))
		relay_packet_enter(relay);
	if (relay->taker) /* copy carries it meanwhile */
		return 0;
	if (relay->gate || (env->method != RELAY_AUTO && env->method != RELAY_SOCKMAP))
		return 0;
	if (!relay->refused && relay->reads >= env->enter_after) {
		if (!env->gates_open)
			relay_refuse(relay, env->gates_why);
		else if (relay_is_empty_handed(relay))
			return enter(relay, label) == 0;
	}
	if (relay->refused && relay->pump[CLIENT].ops == &relay_copy_ops &&
	    relay->reads >= SPLICE_READS && bytes / relay->reads >= SPLICE_BYTES_A_READ)
		become(relay, &relay_splice_ops);
	return 0;
}

static int run_pumps(struct relay *relay)
{
	for (int side = 0; side < SIDES; side++) {
		struct pump *p = &relay->pump[side];
		int r;

		if (p->done)
			continue;
		p->waits = false;
		r = p->ops->run(p);
		if (!r && p->eof)
			r = finish(p);
		if (r < 0)
			return r;
	}
	return 0;
}

int relay_run(struct relay *relay, const struct gate_label *label)
{
	int r = relay->taker ? relay_packet_turn(relay) : TAKER_GO;

	if (r != TAKER_GO)
		return r < 0 ? r : r == TAKER_TOOK ? RELAY_TAKEN : RELAY_MORE;
	r = check_sockets(relay);
	if (r)
		return r;
	choose(relay, label); /* with enter_after 0, before the first byte */
	r = run_pumps(relay);
	if (!r && choose(relay, label))
		r = run_pumps(relay);
	if (r < 0)
		return r;
	if (relay->pump[CLIENT].done && relay->pump[UPSTREAM].done)
		return RELAY_DONE;
	relay_packet_after(relay);
	listen_again(relay);
	r = relay->gate ? relay_sockmap_listen(relay) : 0;
	return r < 0 ? r : RELAY_MORE;
}

void relay_stop(struct relay *relay)
{
	if (!relay->env)
		return;
	timer_stop(&relay->poll, &relay->env->loop->timers);
	relay_packet_stop(relay);
	for (int side = 0; side < SIDES; side++) {
		struct pump *p = &relay->pump[side];

		drop_held(p);
		if (p->pipe)
			pipe_drop(p->pipe);
		p->pipe = NULL;
		mem_budget_give(&relay->env->memory, p->buffers);
		p->buffers = 0;
	}
	relay_opening_free(relay);
}

void relay_release(struct relay *relay)
{
	if (relay->env && relay->gate)
		gate_remove(relay->gate);
	relay->gate = NULL;
	packet_remove(&relay->pair);
}

const char *relay_method_name(const struct relay *relay)
{
	if (!relay->env)
		return "";
	return relay_is_taken(relay) ? relay_method_names[RELAY_PACKET]
				     : relay->pump[CLIENT].ops->name;
}

uint64_t relay_kernel_bytes(const struct relay *relay, int side)
{
	struct packet_stats stats;

	if (relay_is_taken(relay)) {
		packet_stats(&relay->pair, &stats);
		return stats.bytes[side];
	}
	return relay->gate ? gate_kernel_bytes(relay->gate, side) : 0;
}

uint64_t relay_bytes(const struct relay *relay, int side)
{
	return relay->pump[side].bytes + relay_kernel_bytes(relay, side);
}
