#include "relay/selftest_run.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/clock.h"

static void run_case(struct pair_rig *rig, const struct selftest_ops *ops,
		     struct selftest_case *ret)
{
	uint64_t start = clock_ns();
	struct pair pair;
	int r, left;

	rig->why[0] = 0;
	if (clock_ms() > rig->deadline_ms) {
		*ret = (struct selftest_case){ .name = ops->name,
					       .why = "not run: no time was left" };
		return;
	}
	rig->env.enter_after = ops->enter_after;
	pair_init(&pair, rig);
	r = ops->run(&pair, ops->side);
	pair_close(&pair);
	left = pair_rig_check(rig);
	*ret = (struct selftest_case){ .name = ops->name, .passed = !r && !left };
	snprintf(ret->why, sizeof(ret->why), "%s", rig->why);
	ret->us = (uint32_t)((clock_ns() - start) / 1000);
}

int selftest_run(struct fastpath *fastpath, const struct selftest_ops *ops, size_t count,
		 struct selftest_case *cases, size_t *ret_count, char *reason)
{
	struct pair_rig rig;
	const char *step;
	int r = pair_rig_init(&rig, RELAY_SOCKMAP, fastpath, SELFTEST_LIMIT_MS, &step), result = 0;

	*ret_count = 0;
	if (r) {
		snprintf(reason, FASTPATH_REASON_MAX, "the self-test cannot be run: %s: %s", step,
			 strerror(-r));
		return r;
	}
	for (size_t i = 0; i < count; i++) {
		run_case(&rig, &ops[i], &cases[i]);
		if (cases[i].passed || result == -EIO)
			continue;
		result = ops[i].only_noticed ? -EOPNOTSUPP : -EIO;
		snprintf(reason, FASTPATH_REASON_MAX, "self-test %s: %s", cases[i].name,
			 cases[i].why);
	}
	*ret_count = count;
	pair_rig_deinit(&rig);
	return result;
}
