/* common - for tests that need the network: a namespace of their own, and what a process has open. */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "net/addr.h"

#define SKIP 77

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static inline unsigned entries_of(const char *path)
{
	DIR *dir = opendir(path);
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2; /* . and .. */
}

static inline unsigned open_fds(void)
{
	return entries_of("/proc/self/fd");
}

static inline struct addr address(const char *text, uint16_t port)
{
	struct addr addr;

	if (addr_parse(text, port, &addr))
		fail_msg("\"%s\" is no address", text);
	return addr;
}

static inline int get_option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, level, name, &value, &len) < 0)
		fail_msg("getsockopt(%d, %d): %s", level, name, strerror(errno));
	return value;
}

static inline uint64_t namespace_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len), 0);
	return cookie;
}

/* This thread goes into a namespace of its own, where loopback is up. False: it may not. */
static inline bool enter_new_namespace(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd, r;

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r = ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
	return !r;
}
