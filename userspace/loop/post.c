#include "loop/post.h"
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void run_queue(struct post_box *box)
{
	struct list todo = LIST_INIT(todo);

	pthread_mutex_lock(&box->lock);
	list_splice(&todo, &box->queue);
	pthread_mutex_unlock(&box->lock);
	while (!list_empty(&todo)) {
		struct post *post = container_of(todo.next, struct post, link);

		list_unlink(&post->link);
		post->fn(post);
	}
}

static void on_event(struct loop_io *io)
{
	struct post_box *box = container_of(io, struct post_box, io);
	uint64_t count;

	if (read(io->fd, &count, sizeof(count)) < 0 && errno == EAGAIN)
		loop_io_drained(io, EPOLLIN);
	run_queue(box);
}

int post_box_init(struct post_box *box, struct loop *loop)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = loop_io_init(&box->io, loop, fd, on_event);
	if (r < 0) {
		close(fd);
		return r;
	}
	pthread_mutex_init(&box->lock, NULL);
	list_init(&box->queue);
	loop_io_want(&box->io, EPOLLIN);
	return 0;
}

void post_box_deinit(struct post_box *box)
{
	int fd = box->io.fd;

	if (!box->io.loop)
		return;
	run_queue(box);
	loop_io_deinit(&box->io);
	close(fd);
	pthread_mutex_destroy(&box->lock);
}

void post_send(struct post_box *box, struct post *post, post_fn *fn)
{
	static const uint64_t one = 1;

	post->fn = fn;
	pthread_mutex_lock(&box->lock);
	list_init(&post->link);
	list_append(&box->queue, &post->link);
	/* Under the lock: afterwards the receiver may already have taken the box down. A full counter
	 * (EAGAIN) means that a wake-up is pending anyway. */
	(void)!write(box->io.fd, &one, sizeof(one));
	pthread_mutex_unlock(&box->lock);
}
