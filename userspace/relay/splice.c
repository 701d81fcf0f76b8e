/* splice - pages move from socket to socket through a pipe that the pump borrows while it holds bytes. */
#include <errno.h>
#include <fcntl.h>
#include "relay/relay.h"

#define BULK_PIPE_BYTES (1U << 20)

/* 1: the pipe is empty and given back, 0: the peer is full, -errno. Never SPLICE_F_MORE: on a tail it
 * costs 200 ms. */
static int drain_pipe(struct pump *p)
{
	while (p->piped) {
		ssize_t n = splice(p->pipe->fd[0], NULL, p->to->fd, NULL, p->piped,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

		if (n < 0 && errno == EAGAIN) {
			loop_io_drained(&p->to->io, EPOLLOUT);
			p->full = true;
			return 0;
		}
		if (n <= 0)
			return relay_fail(p, p->to, n ? -errno : -EPIPE);
		p->piped -= (uint32_t)n;
		p->bytes += (uint64_t)n;
	}
	p->full = false;
	if (p->pipe) {
		pipe_put(&p->relay->env->pipes, p->pipe);
		p->pipe = NULL;
	}
	return 1;
}

/* Bytes read, 0: nothing to read or the end, -errno. */
static int fill_pipe(struct pump *p)
{
	ssize_t n;

	if (p->bytes >= RELAY_BULK_BYTES)
		pipe_grow(p->pipe, BULK_PIPE_BYTES);
	n = splice(p->from->fd, NULL, p->pipe->fd[1], NULL, p->pipe->size,
		   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n < 0) {
		if (errno != EAGAIN)
			return relay_fail(p, p->from, -errno);
		loop_io_drained(&p->from->io, EPOLLIN);
		return 0;
	}
	p->eof = !n;
	p->piped = (uint32_t)n;
	p->relay->reads += n > 0;
	return (int)n;
}

/* What is left of the last turn: 1 gone, 0 the peer is full, -errno */
static int flush(struct pump *p)
{
	uint32_t sent;

	return p->held ? relay_flush_held(p, &sent) : drain_pipe(p);
}

static struct pipe *get_pipe(struct pump *p)
{
	if (p->from->io.have & EPOLLPRI) /* splice() stops at urgent data for good */
		p->ops = &relay_copy_ops;
	else
		p->pipe = pipe_get(&p->relay->env->pipes);
	return p->pipe;
}

static int splice_run(struct pump *p)
{
	uint32_t moved = 0;
	int r;

	while (moved < RELAY_TURN_BYTES) {
		r = flush(p);
		if (r <= 0)
			return r;
		if (p->eof || !(p->from->io.have & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
			return 0;
		if (!get_pipe(p))
			return relay_copy_ops.run(p);
		r = fill_pipe(p);
		if (r <= 0) {
			(void)drain_pipe(p); /* gives the empty pipe back */
			return r;
		}
		moved += (uint32_t)r;
	}
	r = drain_pipe(p);
	return r < 0 ? r : 0;
}

static int splice_flushed(struct pump *p)
{
	return !p->piped && !p->held;
}

const struct relay_ops relay_splice_ops = { .name = "splice",
					    .run = splice_run,
					    .flushed = splice_flushed };
