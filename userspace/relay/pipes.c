#include "relay/pipes.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define FREE_MAX     64 /* more are closed: descriptors are for flows */
#define PIPE_DEFAULT (64 * 1024)

void pipe_pool_init(struct pipe_pool *pool)
{
	list_init(&pool->free);
	pool->free_count = 0;
}

void pipe_pool_deinit(struct pipe_pool *pool)
{
	list_for_each_safe (link, &pool->free)
		pipe_drop(container_of(link, struct pipe, link));
	pipe_pool_init(pool);
}

static struct pipe *pipe_new(void)
{
	struct pipe *pipe = malloc(sizeof(*pipe));

	if (!pipe)
		return NULL;
	if (pipe2(pipe->fd, O_NONBLOCK | O_CLOEXEC) < 0) {
		free(pipe);
		return NULL;
	}
	list_init(&pipe->link);
	pipe->size = PIPE_DEFAULT;
	pipe_grow(pipe, PIPE_BYTES);
	return pipe;
}

struct pipe *pipe_get(struct pipe_pool *pool)
{
	struct pipe *pipe;

	if (list_empty(&pool->free))
		return pipe_new();
	pipe = container_of(pool->free.next, struct pipe, link);
	list_unlink(&pipe->link);
	pool->free_count--;
	return pipe;
}

void pipe_put(struct pipe_pool *pool, struct pipe *pipe)
{
	if (pool->free_count >= FREE_MAX) {
		pipe_drop(pipe);
		return;
	}
	list_prepend(&pool->free, &pipe->link);
	pool->free_count++;
}

void pipe_drop(struct pipe *pipe)
{
	list_unlink(&pipe->link);
	close(pipe->fd[0]);
	close(pipe->fd[1]);
	free(pipe);
}

void pipe_grow(struct pipe *pipe, uint32_t bytes)
{
	int size;

	if (bytes <= pipe->size)
		return;
	size = fcntl(pipe->fd[1], F_SETPIPE_SZ, (int)bytes);
	if (size > 0)
		pipe->size = (uint32_t)size;
}
