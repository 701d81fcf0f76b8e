#include "ctl/endpoint.h"
#include "base/cleanup.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG      32
#define FOLDER_MODE  0750
#define SOCKET_UMASK 0117
#define PATH_BYTES   sizeof(((struct sockaddr_un *)0)->sun_path)
#define SUFFIX_BYTES 9U /* dot, process id, NUL */

__attribute__((format(printf, 3, 4))) static int fail(char *reason, int err, const char *format,
						      ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reason, ENDPOINT_REASON_MAX, format, args);
	va_end(args);
	return err;
}

static int make_folder(const char *path, char *reason)
{
	char folder[PATH_BYTES];
	char *slash;

	snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return 0;
	*slash = 0;
	if (mkdir(folder, FOLDER_MODE) && errno != EEXIST)
		return fail(reason, -errno, "mkdir %s: %s", folder, strerror(errno));
	return 0;
}

/* 0: @path is free, or holds a socket whose owner is gone. */
static int check_stale(const char *path, char *reason)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	defer_close int fd = -1;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : fail(reason, -errno, "stat: %s", strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return fail(reason, -EEXIST, "something that is not a socket is in the way");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(reason, -errno, "socket: %s", strerror(errno));
	memcpy(sa.sun_path, path, strlen(path) + 1);
	if (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)) || errno == EAGAIN)
		return fail(reason, -EADDRINUSE, "another seamd answers there");
	if (errno == ECONNREFUSED || errno == ENOENT)
		return 0;
	return fail(reason, -errno, "connect: %s", strerror(errno));
}

/* In the same folder, since it is renamed to @path, and no longer than a path of a socket can be. */
static int temporary_name(const char *path, char *ret)
{
	const char *slash = strrchr(path, '/');
	size_t keep = strlen(path), folder = slash ? (size_t)(slash - path) + 1 : 0;

	if (keep > PATH_BYTES - SUFFIX_BYTES)
		keep = PATH_BYTES - SUFFIX_BYTES;
	if (keep < folder)
		return -ENAMETOOLONG;
	snprintf(ret, PATH_BYTES, "%.*s.%d", (int)keep, path, (int)getpid());
	return 0;
}

/* The umask belongs to the whole process, but only this thread makes files. */
static int bind_private(int fd, const struct sockaddr_un *sa)
{
	mode_t mask = umask(SOCKET_UMASK);
	int r = bind(fd, (const struct sockaddr *)sa, sizeof(*sa)) ? -errno : 0;

	umask(mask);
	return r;
}

/* Whoever finds the socket at its path can connect: it listens before it is moved there. */
static int appear(struct endpoint *endpoint, int fd, const char *temporary, char *reason)
{
	struct stat st;

	if (listen(fd, BACKLOG))
		return fail(reason, -errno, "listen: %s", strerror(errno));
	if (lstat(temporary, &st))
		return fail(reason, -errno, "stat: %s", strerror(errno));
	if (rename(temporary, endpoint->path))
		return fail(reason, -errno, "rename: %s", strerror(errno));
	endpoint->dev = st.st_dev;
	endpoint->ino = st.st_ino;
	return 0;
}

static int create(struct endpoint *endpoint, char *reason)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	defer_close int fd = -1;
	int r;

	if (temporary_name(endpoint->path, sa.sun_path))
		return fail(reason, -ENAMETOOLONG, "the name of the folder is too long");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(reason, -errno, "socket: %s", strerror(errno));
	(void)unlink(sa.sun_path); /* of an earlier process of this number */
	r = bind_private(fd, &sa);
	if (r)
		return fail(reason, r, "bind: %s", strerror(-r));
	r = appear(endpoint, fd, sa.sun_path, reason);
	if (r) {
		(void)unlink(sa.sun_path);
		return r;
	}
	endpoint->fd = TAKE_FD(fd);
	return 0;
}

int endpoint_open(struct endpoint *endpoint, const char *path, char *reason)
{
	int r;

	*endpoint = (struct endpoint)ENDPOINT_NULL;
	if (strlen(path) >= PATH_BYTES)
		return fail(reason, -ENAMETOOLONG, "the path of a socket has at most %zu bytes",
			    PATH_BYTES - 1);
	r = make_folder(path, reason);
	if (!r)
		r = check_stale(path, reason);
	if (r)
		return r;
	endpoint->path = strdup(path);
	if (!endpoint->path)
		return fail(reason, -ENOMEM, "out of memory");
	r = create(endpoint, reason);
	if (r)
		endpoint_close(endpoint);
	return r;
}

void endpoint_close(struct endpoint *endpoint)
{
	struct stat st;

	if (endpoint->fd >= 0) {
		if (!lstat(endpoint->path, &st) && st.st_dev == endpoint->dev &&
		    st.st_ino == endpoint->ino)
			(void)unlink(endpoint->path);
		close(endpoint->fd);
	}
	free(endpoint->path);
	*endpoint = (struct endpoint)ENDPOINT_NULL;
}
