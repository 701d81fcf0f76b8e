/* A service that hangs up without an answer has refused: -EACCES, also if it did not take the byte, which
 * the kernel reports as a reset. A backlog that is full refuses connect() with -EAGAIN instead of blocking
 * (unix(7)); that is an error of protect_start(), because nothing tells when there is room. */
#include "net/protect.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "base/cleanup.h"

static void on_answer(struct loop_io *io)
{
	struct protect *protect = container_of(io, struct protect, io);
	char byte;
	ssize_t n = recv(io->fd, &byte, sizeof(byte), 0);
	int err = n < 0 ? -errno : 0;

	if (err == -EAGAIN || err == -EINTR) {
		if (err == -EAGAIN)
			loop_io_drained(io, EPOLLIN);
		return;
	}
	if (!n || err == -ECONNRESET)
		err = -EACCES;
	loop_io_close(io);
	protect->done(protect, err);
}

static int connect_to(int service, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, strlen(path));
	return connect(service, (struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : 0;
}

static int send_fd(int service, int fd)
{
	union {
		struct cmsghdr header; /* for the alignment */
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = sizeof(byte) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&msg);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(service, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int protect_start(struct protect *protect, struct loop *loop, const char *path, int fd,
		  protect_done_fn *done)
{
	defer_close int service = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (service < 0)
		return -errno;
	r = connect_to(service, path);
	if (!r)
		r = send_fd(service, fd);
	if (!r)
		r = loop_io_init(&protect->io, loop, service, on_answer);
	if (r)
		return r;
	(void)TAKE_FD(service); /* the io's */
	protect->done = done;
	loop_io_want(&protect->io, EPOLLIN);
	return 0;
}

void protect_cancel(struct protect *protect)
{
	loop_io_close(&protect->io);
}
