/* common - for the tests of relays: a rig, and what a process has open. */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "relay/selftest_pair.h"

#define LIMIT_MS 5000 /* of a test */

/* Descriptors whose link begins with @prefix: "" for all, "pipe:" for ends of pipes. */
static inline unsigned open_fds(const char *prefix)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		char path[300], target[256] = "";

		snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
		if (readlink(path, target, sizeof(target) - 1) > 0)
			count += !strncmp(target, prefix, strlen(prefix));
	}
	closedir(dir);
	return count;
}

#define assert_good(rig, call)                                 \
	do {                                                   \
		if ((call) != 0)                               \
			fail_msg("%s: %s", #call, (rig)->why); \
	} while (0)
