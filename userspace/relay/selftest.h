/* selftest - whether this kernel's sockmap keeps its word: relays between loopback connections of our own,
 * through everything that has gone wrong in some kernel or could in ours. It decides at start whether
 * `auto` uses the sockmap, and `seamd selftest` prints it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kern/fastpath.h"
#include "relay/selftest_pair.h"

#define SELFTEST_CASES_MAX 32
#define SELFTEST_LIMIT_MS  10000U /* a quiet machine takes a quarter of a second */

struct selftest_case {
	const char *name;
	bool passed;
	char why[PAIR_WHY_MAX]; /* it failed; of one that passed: what was left out, mostly "" */
	uint32_t us;
};

/* Runs every case, on the slots of worker 0, which must not run yet. @cases has room for
 * SELFTEST_CASES_MAX. 0: all passed. -EIO: one did not, and @reason of FASTPATH_REASON_MAX bytes says which
 * and how. Any other: it could not be run (no loopback, no descriptors), @reason names the step, and
 * *@ret_count is 0. Takes SELFTEST_LIMIT_MS at most, and leaves nothing behind. */
int relay_selftest(struct fastpath *fastpath, struct selftest_case *cases, size_t *ret_count,
		   char *reason);
/* The same for clients on this host; @fastpath->local is there. -EOPNOTSUPP: bytes are safe with it, but
 * applications would notice. */
int relay_selftest_local(struct fastpath *fastpath, struct selftest_case *cases, size_t *ret_count,
			 char *reason);
