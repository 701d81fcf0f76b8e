/* urltest - groups that choose their member by measuring: each member is probed every interval (plus or minus
 * a tenth of it), the fastest that works is selected.
 *
 * Belongs to the main thread and its loop. The selected one is left only if it fails, or if another is faster
 * by more than the tolerance; if all fail it stays. Tests go on whether there is traffic or not.
 */
#pragma once
#include <limits.h>
#include "dial/build.h"

#define URLTEST_FAILED UINT_MAX

struct urltest;
/* All that is given outlives it; @env->interfaces may change. The first tests begin with the loop's next
 * turn. -errno with @reason (256 bytes): nothing was started. */
int urltest_new(struct urltest **ret, struct loop *loop, const struct config *config,
		struct dialers *dialers, struct dial_env *env, char *reason);
void urltest_free(struct urltest *urltest); /* NULL is fine */
/* Of the last test, @member counts in the group; 0: not known, URLTEST_FAILED. */
unsigned urltest_delay_ms(const struct urltest *urltest, size_t outbound, size_t member);
