#include "ctl/ask.h"
#include <errno.h>
#include <stdlib.h>

static void ask_free(struct ask *ask)
{
	for (unsigned i = 0; i < ask->count; i++) {
		for (size_t j = 0; j < ask->parts[i].flow_count; j++)
			flow_info_deinit(&ask->parts[i].flows[j]);
		free(ask->parts[i].flows);
		free(ask->parts[i].sessions);
	}
	free(ask);
}

static void finish(struct ask *ask)
{
	if (ask->done)
		ask->done(ask->owner, ask);
	ask_free(ask);
}

static void on_home(struct post *post)
{
	struct ask *ask = container_of(post, struct ask_part, post)->ask;

	if (--ask->left == 0)
		finish(ask);
}

static void on_nobody(struct post *post)
{
	finish(container_of(post, struct ask, post));
}

static void on_worker(struct post *post)
{
	struct ask_part *part = container_of(post, struct ask_part, post);

	part->ask->work(part);
	post_send(part->ask->home, post, on_home);
}

int ask_start(struct ask **ret, const struct ctl_context *context, ask_work_fn *work,
	      union ask_arg arg)
{
	unsigned count = context->worker_count;
	struct ask *ask = calloc(1, sizeof(*ask) + count * sizeof(ask->parts[0]));

	if (!ask)
		return -ENOMEM;
	ask->home = context->post;
	ask->work = work;
	ask->arg = arg;
	ask->left = ask->count = count;
	for (unsigned i = 0; i < count; i++) {
		struct ask_part *part = &ask->parts[i];

		part->ask = ask;
		part->worker = &context->workers[i];
		post_send(&part->worker->post, &part->post, on_worker);
	}
	if (!count)
		post_send(ask->home, &ask->post, on_nobody);
	*ret = ask;
	return 0;
}

void ask_tell(struct ask *ask, ask_done_fn *done, void *owner)
{
	ask->done = done;
	ask->owner = owner;
}

void ask_cancel(struct ask *ask)
{
	if (ask)
		ask->done = NULL;
}

void ask_stats(struct ask_part *part)
{
	worker_stats(part->worker, &part->stats);
}

void ask_flows(struct ask_part *part)
{
	size_t count = worker_flow_count(part->worker);

	part->flows = calloc(count ? count : 1, sizeof(*part->flows));
	if (part->flows)
		part->flow_count = worker_describe(part->worker, part->flows, count);
	else
		part->result = -ENOMEM;
}

void ask_udp(struct ask_part *part)
{
	size_t count = part->worker->udp.pool.used;

	part->sessions = calloc(count ? count : 1, sizeof(*part->sessions));
	if (part->sessions)
		part->session_count = udp_describe(part->worker, part->sessions, count);
	else
		part->result = -ENOMEM;
}

void ask_kill(struct ask_part *part)
{
	part->result = worker_kill(part->worker, part->ask->arg.flow);
}

void ask_leave_packet(struct ask_part *part)
{
	part->result = (int)worker_leave_packet(part->worker);
}

static void add_udp(struct udp_stats *sum, const struct udp_stats *s)
{
	sum->sessions += s->sessions;
	sum->active += s->active;
	for (int end = 0; end < END_COUNT; end++)
		sum->ended[end] += s->ended[end];
	for (int side = 0; side < SIDES; side++) {
		sum->datagrams[side] += s->datagrams[side];
		sum->bytes[side] += s->bytes[side];
	}
	for (int why = 0; why < UDP_DROP_COUNT; why++)
		sum->dropped[why] += s->dropped[why];
	sum->unreachables += s->unreachables;
	sum->replies.opened += s->replies.opened;
	sum->replies.evicted += s->replies.evicted;
	sum->replies.failed += s->replies.failed;
	sum->replies.open += s->replies.open;
}

void ask_sum(const struct ask *ask, struct worker_stats *ret)
{
	*ret = (struct worker_stats){ 0 };
	for (unsigned i = 0; i < ask->count; i++) {
		const struct worker_stats *s = &ask->parts[i].stats;

		ret->accepted += s->accepted;
		ret->active += s->active;
		ret->accept_pauses += s->accept_pauses;
		for (int end = 0; end < END_COUNT; end++)
			ret->ended[end] += s->ended[end];
		ret->dial_failures += s->dial_failures;
		for (int side = 0; side < SIDES; side++) {
			ret->bytes[side] += s->bytes[side];
			ret->kernel_bytes[side] += s->kernel_bytes[side];
		}
		ret->entered += s->entered;
		ret->spilled += s->spilled;
		ret->broken += s->broken;
		for (int why = 0; why < REFUSED_COUNT; why++)
			ret->refused[why] += s->refused[why];
		ret->taken += s->taken;
		ret->missed += s->missed;
		ret->adopted += s->adopted;
		for (int why = 0; why < RELAY_MISSED_COUNT; why++)
			ret->missed_why[why] += s->missed_why[why];
		for (int why = 0; why < UNTAKEN_COUNT; why++)
			ret->untaken[why] += s->untaken[why];
		ret->memory_used += s->memory_used;
		ret->memory_limit += s->memory_limit;
		add_udp(&ret->udp, &s->udp);
	}
}
