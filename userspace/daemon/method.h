/* method - may relays use the sockmap? The version table, the loading of the programs and the self-test
 * decide, in this order. */
#pragma once
#include "config/config.h"
#include "kern/fastpath.h"

/* 0 and *@ret, which passed the self-test. -EOPNOTSUPP: not on this kernel; -EIO: it failed the self-test;
 * any other: it could not be loaded. @reason of FASTPATH_REASON_MAX bytes says why. @force passes over the
 * version table, never over the self-test. */
int method_open_sockmap(bool force, uint32_t flows, uint32_t workers, struct fastpath **ret,
			char *reason);
/* relay.local_clients: fastpath->local, or a line in the log that says why not. @force passes over what only
 * applications would notice. */
void method_open_local(bool force, struct fastpath *fastpath);
/* `seamd selftest`: prints every case. The exit code: 0 usable, 1 a case failed, 77 not on this kernel or
 * with these privileges. */
int method_selftest(bool json);
