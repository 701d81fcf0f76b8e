/* probe - how long the way through an outbound is: dials a web server, asks it by HEAD, waits for its status
 * line. The time is from the beginning of the dial to the first byte of the answer.
 */
#pragma once
#include "dial/dial.h"
#include "flow/probe_url.h"

#define PROBE_LIMIT_MS 5000

struct probe_result {
	int err;          /* 0, with a status below 500; or -errno */
	const char *call; /* what failed; static */
	uint32_t ms;
	unsigned status; /* 0: none came */
};

typedef void probe_done_fn(void *owner, const struct probe_result *result);

struct probe_request {
	struct dial_env *env;
	const struct dialer *dialer;
	const struct probe_url *url; /* lives as long as the probe */
	const struct target
		*override;   /* the outbound's: to be dialed instead, as long; NULL: none */
	struct trace *trace; /* begun by the owner; NULL: nobody asks */
	probe_done_fn *done;
	void *owner;
};

struct probe;
/* @done runs exactly once, never inside probe_start() and never after probe_cancel(); *@ret is dead when it
 * runs. On -errno nothing was started and *@ret_call names what was refused. */
int probe_start(struct probe **ret, const struct probe_request *request, const char **ret_call);
void probe_cancel(struct probe *probe); /* NULL is fine */
