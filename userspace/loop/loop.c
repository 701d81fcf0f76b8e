#include "loop/loop.h"
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>
#include "base/clock.h"

#define BATCH 256

int loop_init(struct loop *loop)
{
	*loop = (struct loop){ .now_ms = clock_ms() };
	list_init(&loop->ready);
	timer_wheel_init(&loop->timers, loop->now_ms);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return loop->epoll_fd < 0 ? -errno : 0;
}

void loop_deinit(struct loop *loop)
{
	assert(!loop->io_count && timer_wheel_empty(&loop->timers));
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	loop->epoll_fd = -1;
}

static void queue(struct loop_io *io)
{
	bool due = io->want & io->have;

	if (due && !list_linked(&io->ready))
		list_append(&io->loop->ready, &io->ready);
	else if (!due && list_linked(&io->ready))
		list_unlink(&io->ready);
}

int loop_io_init(struct loop_io *io, struct loop *loop, int fd, loop_io_fn *fn)
{
	struct epoll_event ev = { .events = LOOP_IO_ALL | EPOLLET, .data.ptr = io };

	*io = (struct loop_io){ .loop = loop, .fn = fn, .fd = fd, .want = EPOLLERR | EPOLLHUP };
	list_init(&io->ready);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		io->loop = NULL;
		return -errno;
	}
	loop->io_count++;
	return 0;
}

void loop_io_deinit(struct loop_io *io)
{
	if (!io->loop)
		return;
	list_unlink(&io->ready);
	(void)epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL);
	io->loop->io_count--;
	*io = (struct loop_io)LOOP_IO_NULL;
}

int loop_io_move(struct loop_io *to, struct loop_io *from, loop_io_fn *fn)
{
	struct epoll_event ev = { .events = LOOP_IO_ALL | EPOLLET, .data.ptr = to };

	if (epoll_ctl(from->loop->epoll_fd, EPOLL_CTL_MOD, from->fd, &ev) < 0)
		return -errno;
	*to = (struct loop_io){ .loop = from->loop,
				.fn = fn,
				.fd = from->fd,
				.want = EPOLLERR | EPOLLHUP,
				.have = from->have };
	list_init(&to->ready);
	list_unlink(&from->ready);
	*from = (struct loop_io)LOOP_IO_NULL;
	queue(to);
	return 0;
}

void loop_io_close(struct loop_io *io)
{
	int fd = io->fd;

	if (!io->loop)
		return;
	list_unlink(&io->ready);
	io->loop->io_count--;
	*io = (struct loop_io)LOOP_IO_NULL;
	close(fd);
}

void loop_io_want(struct loop_io *io, uint32_t events)
{
	io->want = events | EPOLLERR | EPOLLHUP;
	queue(io);
}

void loop_io_drained(struct loop_io *io, uint32_t events)
{
	io->have &= ~events;
	queue(io);
}

int loop_io_mask(struct loop_io *io, uint32_t events)
{
	struct epoll_event ev = { .events = events | EPOLLET, .data.ptr = io };

	if (epoll_ctl(io->loop->epoll_fd, EPOLL_CTL_MOD, io->fd, &ev) < 0)
		return -errno;
	io->have &= events | EPOLLERR | EPOLLHUP;
	queue(io);
	return 0;
}

/* Fetch first: nothing is dispatched until the whole batch sits in the objects. */
static int fetch(struct loop *loop, int timeout_ms)
{
	struct epoll_event ev[BATCH];
	int n = epoll_wait(loop->epoll_fd, ev, BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		struct loop_io *io = ev[i].data.ptr;

		io->have |= ev[i].events;
		queue(io);
	}
	return 0;
}

static void dispatch(struct loop *loop)
{
	struct list todo = LIST_INIT(todo);

	list_splice(&todo, &loop->ready);
	while (!list_empty(&todo)) {
		struct loop_io *io = container_of(todo.next, struct loop_io, ready);

		list_unlink(&io->ready);
		list_append(&loop->ready, &io->ready); /* stays ready until drained */
		io->fn(io);
	}
}

static int wait_ms(const struct loop *loop, int timeout_ms)
{
	uint64_t next = timer_wheel_next(&loop->timers), now = clock_ms(), left;

	if (!list_empty(&loop->ready) || loop->stopped)
		return 0;
	if (next == UINT64_MAX)
		return timeout_ms;
	left = next > now ? next - now : 0;
	if (left > INT_MAX)
		left = INT_MAX;
	return timeout_ms >= 0 && (uint64_t)timeout_ms < left ? timeout_ms : (int)left;
}

int loop_run_once(struct loop *loop, int timeout_ms)
{
	int r = fetch(loop, wait_ms(loop, timeout_ms));

	if (r < 0)
		return r;
	loop->now_ms = clock_ms();
	timer_wheel_advance(&loop->timers, loop->now_ms); /* first: delays count from now */
	dispatch(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	int r = 0;

	while (!loop->stopped && !r)
		r = loop_run_once(loop, -1);
	return r;
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
}
