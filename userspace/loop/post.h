/* post - run a function on another thread's loop: an eventfd and a queue under a lock that is held for a
 * few instructions. The only way for threads to speak to each other. */
#pragma once
#include <pthread.h>
#include "loop/loop.h"

struct post;
typedef void post_fn(struct post *post);

/* Embedded in the message; its owner keeps it alive until @fn has run. */
struct post {
	struct list link;
	post_fn *fn;
};

struct post_box {
	struct loop_io io;
	pthread_mutex_t lock;
	struct list queue;
};

int post_box_init(struct post_box *box, struct loop *loop);
/* On the loop's thread, when nobody can post any more: what still waits is run first. */
void post_box_deinit(struct post_box *box);
/* From any thread. @fn runs once, on the loop of @box. Never fails. */
void post_send(struct post_box *box, struct post *post, post_fn *fn);
