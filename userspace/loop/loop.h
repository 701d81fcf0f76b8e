/* loop - edge-triggered epoll mirrored into objects and dispatched level-triggered, with timers.
 *
 * One loop belongs to one thread; only loop_post.h may be used from others. A batch of events is merged
 * into the objects before any callback runs, so a callback may free any object, also its own. An object
 * stays ready until its owner says that it is drained: fairness needs no code, a callback that has done
 * enough simply returns.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include "base/list.h"
#include "loop/timer.h"

struct loop {
	int epoll_fd;
	bool stopped;
	unsigned io_count;
	uint64_t now_ms; /* monotonic, as of this turn */
	struct list ready;
	struct timer_wheel timers;
};

struct loop_io;
typedef void loop_io_fn(struct loop_io *io);

/* Embedded in the object that owns @fd. It never moves in memory; the loop never closes @fd. */
struct loop_io {
	struct loop *loop; /* NULL: not registered */
	struct list ready;
	loop_io_fn *fn;
	int fd;
	uint32_t want, have; /* what the owner waits for, what the kernel said */
};
#define LOOP_IO_NULL     \
	{                \
		.fd = -1 \
	}

int loop_init(struct loop *loop);
void loop_deinit(struct loop *loop); /* every io and timer must be gone */
/* One wait and one round of callbacks. @timeout_ms < 0: until something happens. -errno of epoll_wait. */
int loop_run_once(struct loop *loop, int timeout_ms);
/* Until loop_stop(). */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

int loop_io_init(struct loop_io *io, struct loop *loop, int fd, loop_io_fn *fn);
void loop_io_deinit(struct loop_io *io); /* any state, twice is fine; before close(fd) */
/* The registration, with what the kernel has said, moves to @to; @from is as after deinit. -errno: nothing
 * changed. */
int loop_io_move(struct loop_io *to, struct loop_io *from, loop_io_fn *fn);
/* Deinit and close(fd), which takes it out of the epoll set as well: the descriptor is the only one. */
void loop_io_close(struct loop_io *io);
/* EPOLLERR and EPOLLHUP are always wanted. */
void loop_io_want(struct loop_io *io, uint32_t events);
/* The last call said EAGAIN: not ready until the kernel says so again. */
void loop_io_drained(struct loop_io *io, uint32_t events);
/* Narrows what the kernel reports at all: a masked event costs no wake-up. Adding one back finds it
 * again if it is pending. */
int loop_io_mask(struct loop_io *io, uint32_t events);
#define LOOP_IO_ALL (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI)
