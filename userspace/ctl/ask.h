/* ask - runs a function on every worker and comes back to the main thread with what each has left.
 *
 * One allocation travels: a part to each worker by post_send(), and home again. Nobody waits and nothing
 * is locked. Who lost interest cancels; the messages that are still under way then only free themselves,
 * also when they are run by post_box_deinit() at the very end, after the server and the workers are gone.
 */
#pragma once
#include "ctl/server.h"

struct ask;
struct watch;

struct ask_part {
	struct post post;
	struct ask *ask;
	struct worker *worker;
	int result; /* what follows is for the work function to fill in */
	struct worker_stats stats;
	struct flow_info *flows;
	size_t flow_count;
	struct udp_info *sessions;
	size_t session_count;
};

union ask_arg {
	uint64_t flow;
	struct watch *watch;
};

/* On the thread of part->worker. */
typedef void ask_work_fn(struct ask_part *part);
/* On the main thread, once; @ask is freed when it returns. */
typedef void ask_done_fn(void *owner, struct ask *ask);

struct ask {
	struct post_box *home;
	struct post post; /* for the answer of no worker at all */
	ask_work_fn *work;
	union ask_arg arg;
	ask_done_fn *done; /* NULL: cancelled, or nobody wants to know */
	void *owner;
	unsigned left, count;
	struct ask_part parts[];
};

/* -ENOMEM: nothing was sent. @done never runs before this returns. */
int ask_start(struct ask **ret, const struct ctl_context *context, ask_work_fn *work,
	      union ask_arg arg);
/* Right after ask_start(); without it nobody is told. */
void ask_tell(struct ask *ask, ask_done_fn *done, void *owner);
void ask_cancel(struct ask *ask); /* no callback follows; NULL is fine */

/* Work: fills in stats; flows; UDP sessions; what worker_kill() of arg.flow said. A failure is in result. */
void ask_stats(struct ask_part *part);
void ask_flows(struct ask_part *part);
void ask_udp(struct ask_part *part);
void ask_kill(struct ask_part *part);
void ask_leave_packet(struct ask_part *part); /* result: flows that it ended */

void ask_sum(const struct ask *ask, struct worker_stats *ret);
