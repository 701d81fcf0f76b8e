/* copy - recv() into the worker's scratch buffer and send() from it. Only what the peer would not take is
 * kept, so an idle flow holds no buffer. */
#include <errno.h>
#include <sys/socket.h>
#include "relay/relay.h"

#define FIRST_BYTES  32768U
#define SCARCE_BYTES 4096U

static uint32_t read_size(const struct pump *p)
{
	const struct relay_env *env = p->relay->env;
	uint64_t size = p->bytes < RELAY_BULK_BYTES ? FIRST_BYTES : RELAY_SCRATCH;

	if (size > env->buffer_limit)
		size = env->buffer_limit;
	if (size > mem_budget_left(&env->memory))
		size = SCARCE_BYTES; /* goes on, slowly, with what one send() should take */
	return (uint32_t)size;
}

/* Bytes read and passed on, 0: nothing to read or the end, -errno. */
static int copy_once(struct pump *p)
{
	uint8_t *scratch = p->relay->env->scratch;
	uint32_t size = read_size(p);
	ssize_t n = recv(p->from->fd, scratch, size, 0), sent;

	if (n < 0) {
		if (errno != EAGAIN)
			return relay_fail(p, p->from, -errno);
		loop_io_drained(&p->from->io, EPOLLIN);
		return 0;
	}
	if (!n) {
		p->eof = true;
		return 0;
	}
	p->relay->reads++;
	if (n < (ssize_t)size && !(p->from->io.have & (EPOLLRDHUP | EPOLLHUP)))
		loop_io_drained(&p->from->io, EPOLLIN); /* what comes now is a new edge */
	sent = send(p->to->fd, scratch, (size_t)n, MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN)
		return relay_fail(p, p->to, -errno);
	if (sent < 0)
		sent = 0;
	p->bytes += (uint64_t)sent;
	if (sent < n) {
		int r = relay_hold(p, scratch + sent, (uint32_t)(n - sent));

		if (r)
			return r;
	}
	return (int)n;
}

static int copy_run(struct pump *p)
{
	uint32_t moved = 0, sent;

	while (moved < RELAY_TURN_BYTES) {
		int r = relay_flush_held(p, &sent);

		if (r <= 0)
			return r;
		if (p->eof || p->rests ||
		    !(p->from->io.have & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
			return 0;
		r = copy_once(p);
		if (r <= 0)
			return r;
		moved += (uint32_t)r;
	}
	return 0;
}

static int copy_flushed(struct pump *p)
{
	return !p->held;
}

const struct relay_ops relay_copy_ops = { .name = "copy",
					  .run = copy_run,
					  .flushed = copy_flushed };
