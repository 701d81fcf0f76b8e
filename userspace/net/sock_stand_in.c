#include <errno.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "net/sock.h"

/* It is to stand where @old does also for whoever asks for its way. */
static int copy_way(int fd, int old)
{
	uint32_t mark = sock_mark(old);
	int interface = sock_bound_interface(old), r = 0;

	if (mark)
		r = sock_set_mark(fd, mark);
	if (!r && interface)
		r = sock_bind_ifindex(fd, interface);
	return r;
}

/* Transparent only where it has to be. */
static int bind_address(int fd, const struct addr *local)
{
	int r = sock_bind_address(fd, local, false);

	if (r != -EADDRNOTAVAIL)
		return r;
	r = sock_set_transparent(fd, local->family);
	return r ? r : sock_bind_address(fd, local, false);
}

int sock_stand_in(const struct addr *local, const struct addr *remote, int old)
{
	defer_close int fd = socket(local->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(remote, &sa);
	int r;

	if (fd < 0)
		return -errno;
	r = sock_set_silent_close(fd); /* from here on it may share a port with any other */
	if (!r && old >= 0)
		r = copy_way(fd, old);
	if (!r)
		r = bind_address(fd, local);
	if (r)
		return r;
	if (old >= 0)
		close(old); /* two of the same addresses cannot be connected */
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	return TAKE_FD(fd);
}
