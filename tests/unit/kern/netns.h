/* A network namespace of the test's own, in which the `ip` command makes interfaces. */
#pragma once
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "net/addr.h"

#define SKIP 77

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return good;
}

/* Without privileges in a user namespace, as its root. */
static bool enter_netns(void)
{
	unsigned uid = getuid(), gid = getgid();
	char uids[32], gids[32];

	if (!unshare(CLONE_NEWNET | CLONE_NEWNS))
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS))
		return false;
	snprintf(uids, sizeof(uids), "0 %u 1", uid);
	snprintf(gids, sizeof(gids), "0 %u 1", gid);
	return write_text("/proc/self/setgroups", "deny") &&
	       write_text("/proc/self/uid_map", uids) && write_text("/proc/self/gid_map", gids);
}

/* Runs each line, all of them whatever happens. Whether all went well. */
static bool run(const char *lines)
{
	char text[4096];
	char *rest = NULL;
	bool good = true;

	snprintf(text, sizeof(text), "%s", lines);
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (system(line)) {
			fprintf(stderr, "failed: %s\n", line);
			good = false;
		}
	return good;
}

static inline unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static inline struct addr address(const char *text)
{
	struct addr addr = { .family = AF_UNSPEC };

	if (text && addr_parse(text, 0, &addr))
		abort();
	return addr;
}

static inline int skipped(const char *why)
{
	printf("skipped: %s\n", why);
	return SKIP;
}
