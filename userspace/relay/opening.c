/* opening - see opening.h. What is peeked at and not wanted stays in the socket, for the method after. */
#include "relay/opening.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "net/sock.h"
#include "proto/tls_hello.h"

#define HELLO_WAIT_MS 1000 /* for the rest of a hello that has begun */
#define HELLO_GROWTH  ((size_t)5 * (TLS_FRAGMENT_CUTS_MAX + 1))
/* Acknowledged that soon, the peer is on this link: another middlebox, or a server that reassembles at
 * once. Then time has to keep the pieces apart (sing-box's value). */
#define NEAR_MS       20U

static struct relay_opening *opening_of(struct relay *relay)
{
	if (!relay->opening)
		relay->opening = calloc(1, sizeof(*relay->opening));
	return relay->opening;
}

static int over(struct pump *p)
{
	p->ops = relay_first_ops(p->relay->env);
	p->waits = false;
	return p->ops->run(p);
}

static void drop_hello(struct relay *relay)
{
	struct relay_opening *o = relay->opening;

	if (!o->hello)
		return;
	mem_budget_give(&relay->env->memory, o->len);
	free(o->hello);
	o->hello = NULL;
}

/* 0: a hello without a name, or no memory to cut it: it passes as it is. */
static size_t cut(struct relay_opening *o, const uint8_t *data, const struct tls_hello *hello,
		  uint64_t now_ms)
{
	size_t cuts[TLS_FRAGMENT_CUTS_MAX], count;

	count = tls_fragment_cuts(data, hello->bytes, (uint32_t)now_ms * 2654435761U, cuts);
	if (!count)
		return 0;
	o->hello = malloc(hello->bytes + HELLO_GROWTH * (hello->records + 1));
	if (!o->hello)
		return 0;
	o->pieces = count + 1;
	if (o->tls.records) {
		o->len = tls_fragment_records(data, hello->bytes, cuts, count, o->hello,
					      hello->bytes + HELLO_GROWTH * (hello->records + 1),
					      o->ends);
	} else {
		memcpy(o->hello, data, hello->bytes);
		memcpy(o->ends, cuts, count * sizeof(*cuts));
		o->ends[count] = o->len = hello->bytes;
	}
	if (!o->tls.packets) { /* records alone need no writes of their own */
		o->pieces = 1;
		o->ends[0] = o->len;
	}
	if (o->len)
		return o->pieces;
	free(o->hello);
	o->hello = NULL;
	return 0;
}

/* 1: there is a hello to send; 0: wait; 2: it is none, or cannot be had whole; -errno. */
static int read_hello(struct pump *p)
{
	struct relay_env *env = p->relay->env;
	struct relay_opening *o = p->relay->opening;
	uint64_t now = env->loop->now_ms;
	struct tls_hello hello;
	ssize_t n = recv(p->from->fd, env->scratch, SNIFF_STREAM_MAX + 512, MSG_PEEK);
	enum sniff_result result;

	if (n < 0 && errno != EAGAIN)
		return relay_fail(p, p->from, -errno);
	if (n == 0)
		return 2;
	if (n < 0) {
		loop_io_drained(&p->from->io, EPOLLIN);
		return 0;
	}
	if (!o->begun_ms)
		o->begun_ms = now;
	result = tls_hello_parse(env->scratch, (size_t)n, &hello);
	if (result == SNIFF_MORE && n < SNIFF_STREAM_MAX + 512 &&
	    !(p->from->io.have & EPOLLRDHUP) && now - o->begun_ms < HELLO_WAIT_MS) {
		relay_poll_later(p);
		return 0;
	}
	if (result != SNIFF_YES || !cut(o, env->scratch, &hello, now))
		return 2;
	env->memory.used += o->len;
	/* out of the queue, tcp(7) */
	if (recv(p->from->fd, NULL, hello.bytes, MSG_TRUNC) != (ssize_t)hello.bytes)
		return relay_fail(p, p->from, -EIO);
	return 1;
}

/* A poll may see an acknowledgement late: then the kernel's own measure decides. */
static bool is_near(const struct pump *p, uint64_t elapsed_ms)
{
	return elapsed_ms <= NEAR_MS ||
	       (elapsed_ms / 2 <= NEAR_MS && sock_rtt_us(p->to->fd) <= NEAR_MS * 1000);
}

/* Whether the next piece may leave: the last one has arrived, and where that proves nothing a while has
 * passed. */
static bool may_go_on(const struct pump *p)
{
	struct relay_opening *o = p->relay->opening;
	uint64_t now = p->relay->env->loop->now_ms;

	if (!o->sent_ms || now - o->begun_ms >= o->tls.limit_ms)
		return true;
	if (!o->until_ms) {
		if (sock_unacknowledged(p->to->fd))
			return false;
		o->until_ms = is_near(p, now - o->sent_ms) ? now + o->tls.delay_ms : now;
	}
	return now >= o->until_ms;
}

/* 1: all of it is sent; 0: later; -errno. */
static int send_pieces(struct pump *p)
{
	struct relay_opening *o = p->relay->opening;

	while (o->piece < o->pieces) {
		ssize_t n;

		if (!may_go_on(p)) {
			relay_poll_later(p);
			return 0;
		}
		n = send(p->to->fd, o->hello + o->at, o->ends[o->piece] - o->at, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			loop_io_drained(&p->to->io, EPOLLOUT);
			p->full = true;
			return 0;
		}
		if (n < 0)
			return relay_fail(p, p->to, -errno);
		p->full = false;
		p->bytes += (uint64_t)n;
		o->at += (size_t)n;
		if (o->at < o->ends[o->piece])
			continue;
		o->piece++;
		o->sent_ms = p->relay->env->loop->now_ms;
		o->until_ms = 0;
		relay_poll_anew(p->relay); /* how soon it is acknowledged matters */
	}
	return 1;
}

static int hello_run(struct pump *p)
{
	struct relay_opening *o = p->relay->opening;
	int r = o->hello ? 1 : read_hello(p);

	if (r == 1)
		r = send_pieces(p);
	if (r <= 0)
		return r;
	drop_hello(p->relay);
	return over(p);
}

static int hello_flushed(struct pump *p)
{
	return !p->relay->opening->hello;
}

static const struct relay_ops hello_ops = { .name = "fragment",
					    .run = hello_run,
					    .flushed = hello_flushed };

/* 1: the answer was all there and was good; 0: wait; -errno. */
static int read_answer(struct pump *p)
{
	struct relay_opening *o = p->relay->opening;
	struct handshake_step step = { .in = p->relay->env->scratch };
	enum handshake_result result;
	ssize_t n = recv(p->from->fd, p->relay->env->scratch, HANDSHAKE_IN_MAX, MSG_PEEK);

	if (n < 0 && errno != EAGAIN)
		return relay_fail(p, p->from, -errno);
	if (n == 0) {
		o->why = "the proxy hung up";
		return relay_fail(p, p->from, -ECONNRESET);
	}
	if (n > 0)
		step.in_len = (size_t)n;
	result = o->answer->answer(o->answer_state, &step);
	if (step.eaten && recv(p->from->fd, NULL, step.eaten, MSG_TRUNC) != (ssize_t)step.eaten)
		return relay_fail(p, p->from, -EIO);
	if (result == HANDSHAKE_DONE)
		return 1;
	o->why = step.why;
	if (result != HANDSHAKE_MORE || n == HANDSHAKE_IN_MAX)
		return relay_fail(p, p->from, step.err ? step.err : -EPROTO);
	if (step.eaten)
		return read_answer(p); /* what follows may be here as well */
	if (p->from->io.have & EPOLLRDHUP) {
		o->why = "the proxy hung up";
		return relay_fail(p, p->from, -ECONNRESET);
	}
	loop_io_drained(&p->from->io, EPOLLIN); /* more is a new edge */
	return 0;
}

static int answer_run(struct pump *p)
{
	int r = read_answer(p);

	return r <= 0 ? r : over(p);
}

static int answer_flushed(struct pump *p)
{
	return 1; /* it holds nothing */
}

static const struct relay_ops answer_ops = { .name = "answer",
					     .run = answer_run,
					     .flushed = answer_flushed };

int relay_open_tls(struct relay *relay, const struct relay_tls *tls)
{
	struct relay_opening *o = opening_of(relay);

	if (!o)
		return -ENOMEM;
	o->tls = *tls;
	relay->pump[CLIENT].ops = &hello_ops;
	return 0;
}

int relay_open_answer(struct relay *relay, const struct handshake_ops *ops, void *state)
{
	struct relay_opening *o = opening_of(relay);

	if (!o) {
		free(state);
		return -ENOMEM;
	}
	o->answer = ops;
	o->answer_state = state;
	relay->pump[UPSTREAM].ops = &answer_ops;
	return 0;
}

bool relay_opening_is_over(const struct relay *relay)
{
	return relay->pump[CLIENT].ops != &hello_ops && relay->pump[UPSTREAM].ops != &answer_ops;
}

void relay_opening_free(struct relay *relay)
{
	if (!relay->opening)
		return;
	drop_hello(relay);
	free(relay->opening->answer_state);
	free(relay->opening);
	relay->opening = NULL;
}
