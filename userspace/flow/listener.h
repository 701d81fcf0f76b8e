/* listener - accepts connections for a worker, and pauses when there is no room for more. */
#pragma once
#include "flow/flow.h"

struct listener {
	struct worker *worker;
	const struct inbound *inbound;
	struct loop_io io;  /* owns the socket */
	struct timer retry; /* runs while paused */
	uint32_t mss;       /* as it is set; 0: not */
};

/* -errno and @ret_call: what was refused. */
int listener_init(struct listener *listener, struct worker *worker, const struct inbound *inbound,
		  const char **ret_call);
void listener_deinit(struct listener *listener); /* twice is fine */
/* What clients of an inbound with `mss` auto are told from now on; 0: as their way in has it. */
void listener_set_mss(struct listener *listener, uint32_t mss);
/* There is room again. */
void listener_resume(struct listener *listener);
