/* selftest_run - runs a table of self-test cases on one rig, under one deadline. */
#pragma once
#include "relay/selftest.h"

struct selftest_ops {
	const char *name;
	int (*run)(struct pair *pair, int side); /* 0, or it has said why with pair_fail() */
	int side;                                /* for @run */
	uint32_t enter_after;
	bool only_noticed; /* if it fails, bytes are safe all the same */
};

/* As relay_selftest(), of @count rows; -EOPNOTSUPP if only such rows failed that are @only_noticed. */
int selftest_run(struct fastpath *fastpath, const struct selftest_ops *ops, size_t count,
		 struct selftest_case *cases, size_t *ret_count, char *reason);
