/* protect - hands a socket to the service at protect_path before it is used, as VPN services want it: the
 * descriptor by SCM_RIGHTS with one byte; one byte comes back when it is exempt. */
#pragma once
#include "loop/loop.h"

struct protect;
/* Once; 0 or -errno. Never inside protect_start(). */
typedef void protect_done_fn(struct protect *protect, int err);

/* Embedded in its owner. */
struct protect {
	struct loop_io io; /* of the service's socket */
	protect_done_fn *done;
};

/* @fd is borrowed. -errno: nothing was started. The owner limits the time. */
int protect_start(struct protect *protect, struct loop *loop, const char *path, int fd,
		  protect_done_fn *done);
void protect_cancel(struct protect *protect); /* not started is fine, if zeroed or LOOP_IO_NULL */
