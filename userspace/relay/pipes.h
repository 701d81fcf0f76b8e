/* pipes - a pool of pipes for splice(2). A pump has one only while bytes are in it. */
#pragma once
#include <stdint.h>
#include "base/list.h"

#define PIPE_BYTES (256 * 1024)

struct pipe {
	struct list link;
	int fd[2];
	uint32_t size;
};

struct pipe_pool {
	struct list free;
	unsigned free_count;
};

void pipe_pool_init(struct pipe_pool *pool);
void pipe_pool_deinit(struct pipe_pool *pool); /* every pipe is back */
/* NULL: none to be had (EMFILE, pipe-user-pages-soft): copy instead. */
struct pipe *pipe_get(struct pipe_pool *pool);
/* Holds nothing. */
void pipe_put(struct pipe_pool *pool, struct pipe *pipe);
/* Closes it with what it holds. */
void pipe_drop(struct pipe *pipe);
/* To @bytes, if the kernel grants it (F_SETPIPE_SZ, fs.pipe-max-size); stays as it is if not. */
void pipe_grow(struct pipe *pipe, uint32_t bytes);
