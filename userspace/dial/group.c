#include "dial/group.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define USE_RESOLUTION_MS 1000

size_t group_selected(const struct group_dialer *group)
{
	return atomic_load_explicit(&group->selected, memory_order_relaxed);
}

uint64_t group_used_ms(const struct group_dialer *group)
{
	return group->used_ms ? atomic_load_explicit(group->used_ms, memory_order_relaxed) : 0;
}

/* Once a second at most: every worker reads beside it. */
static void note_use(const struct group_dialer *group, uint64_t now_ms)
{
	if (now_ms - group_used_ms(group) >= USE_RESOLUTION_MS)
		atomic_store_explicit(group->used_ms, now_ms, memory_order_relaxed);
}

static const struct dialer *group_skip(const struct dialer *self,
				       const struct dial_request *request)
{
	const struct group_dialer *group = container_of(self, struct group_dialer, base);
	size_t selected = group_selected(group);

	assert(selected < group->count);
	if (group->used_ms)
		note_use(group, request->env->loop->now_ms);
	return group->members[selected];
}

/* A dial never begins here: skip is asked before. */
static int group_start(struct dial *dial)
{
	assert(false);
	dial->call = "group";
	return -EINVAL;
}

static void group_cancel(struct dial *dial, bool reset)
{
	assert(false);
}

static void group_free(struct dialer *self)
{
	struct group_dialer *group = container_of(self, struct group_dialer, base);

	free(group->members);
	free(group->used_ms);
	free(group);
}

void group_select(struct group_dialer *group, size_t member)
{
	assert(member < group->count);
	atomic_store_explicit(&group->selected, member, memory_order_relaxed);
}

const struct dialer_ops dial_group_ops = {
	.name = "group",
	.dial_size = sizeof(struct dial),
	.start = group_start,
	.cancel = group_cancel,
	.skip = group_skip,
	.free = group_free,
};
