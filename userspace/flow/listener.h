/* listener - accepts connections for a worker, and pauses when there is no room for more. */
#pragma once
#include "flow/flow.h"

struct listener {
	struct worker *worker;
	const struct inbound *inbound;
	struct loop_io io;  /* owns the socket */
	struct timer retry; /* runs while paused */
};

/* -errno and @ret_call: what was refused. */
int listener_init(struct listener *listener, struct worker *worker, const struct inbound *inbound,
		  const char **ret_call);
void listener_deinit(struct listener *listener); /* twice is fine */
/* There is room again. */
void listener_resume(struct listener *listener);
