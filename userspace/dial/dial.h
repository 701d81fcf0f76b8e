/* dial - turns a target into a connected socket, through any chain of dialers.
 *
 * A dialer is immutable and shared by all flows of a configuration; a dial is one attempt. Layers
 * disappear when they are done: what comes out is a plain socket, because the kernel moves the bytes after.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "config/config.h"
#include "loop/loop.h"
#include "net/addr.h"

struct target {
	struct addr addr;
};

/* What a dial came to. */
struct dial_result {
	int err;          /* 0 or -errno; -ETIMEDOUT after connect_timeout as well */
	const char *call; /* what failed, "connect" or the option that was refused; NULL if none */
	struct loop_io *io; /* connected, registered and the receiver's to move; NULL if failed */
};

struct dial;
typedef void dial_done_fn(void *owner, const struct dial_result *result);

struct dialer_ops {
	const char *name;
	size_t dial_size; /* of an attempt's state, struct dial first */
	/* 0; or -errno, nothing is held, and dial->call says what failed. */
	int (*start)(struct dial *dial);
	/* Drops whatever start() took; with @reset by RST, for a connection that may just have been made. */
	void (*cancel)(struct dial *dial, bool reset);
};

struct dialer {
	const struct dialer_ops *ops;
};

struct dial_request {
	struct loop *loop;
	struct target target;
	dial_done_fn *done;
	void *owner; /* for @done */
};

struct dial {
	const struct dialer *dialer;
	struct dial_request request;
	const char *call;
};

/* @done runs exactly once, never inside dial_start() and never after dial_cancel(); *@ret is dead when it
 * runs. On -errno nothing was started and *@ret_call names what was refused. */
int dial_start(struct dial **ret, const struct dialer *dialer, const struct dial_request *request,
	       const char **ret_call);
void dial_cancel(struct dial *dial, bool reset); /* NULL is fine */

/* For dialers: ends the attempt. On success @io is moved from by the receiver, and closed if it is not. */
void dial_finish(struct dial *dial, int err, const char *call, struct loop_io *io);

/* An outbound's dialer, with its own copy of the options it needs; of a `block` outbound it is NULL.
 * 0 or -ENOMEM. */
int dialer_build(const struct config_outbound *config, struct dialer **ret);
void dialer_free(struct dialer *dialer); /* NULL is fine */
