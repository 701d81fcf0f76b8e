/* endpoint - the listening socket at its path: there from one instant to the next, with its mode, and
 * removed only while it is still ours. */
#pragma once
#include <sys/types.h>

struct endpoint {
	char *path;
	int fd;
	dev_t dev;
	ino_t ino;
};
#define ENDPOINT_NULL    \
	{                \
		.fd = -1 \
	}

#define ENDPOINT_REASON_MAX 256

/* Makes the folder (one level, 0750) if it is missing, replaces a socket that nobody answers on. -errno
 * and @reason; -EADDRINUSE: somebody does. */
int endpoint_open(struct endpoint *endpoint, const char *path, char *reason);
void endpoint_close(struct endpoint *endpoint); /* twice is fine */
