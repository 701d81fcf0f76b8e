/* group - one of several outbounds, chosen from outside while flows go on: selector and urltest. Its member
 * is looked up once a dial, by skip: a group costs nothing. */
#pragma once
#include <stdatomic.h>
#include "dial/dial.h"

struct group_dialer {
	struct dialer base;
	size_t count;
	const struct dialer **members; /* owned array of borrowed dialers */
	_Atomic size_t selected; /* what ctl or the tests of urltest chose; read by every worker */
};

extern const struct dialer_ops dial_group_ops;

static inline size_t group_selected(const struct group_dialer *group)
{
	return atomic_load_explicit(&group->selected, memory_order_relaxed);
}

/* Of any thread; dials that have begun are left alone. */
static inline void group_select(struct group_dialer *group, size_t member)
{
	atomic_store_explicit(&group->selected, member, memory_order_relaxed);
}
