#include <errno.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "net/sock.h"

/* Transparent only where it has to be. */
static int bind_address(int fd, const struct addr *local)
{
	int r = sock_bind_address(fd, local, false);

	if (r != -EADDRNOTAVAIL)
		return r;
	r = sock_set_transparent(fd, local->family);
	return r ? r : sock_bind_address(fd, local, false);
}

int sock_stand_in(const struct addr *local, const struct addr *remote, uint32_t mark, int old)
{
	defer_close int replaced = old;
	defer_close int fd = socket(local->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(remote, &sa);
	int r;

	if (fd < 0)
		return -errno;
	r = sock_set_silent_close(fd); /* from here on it may share a port with any other */
	if (!r && mark)
		r = sock_set_mark(fd, mark);
	if (!r && old >= 0 && sock_bound_interface(old))
		r = sock_bind_ifindex(fd, sock_bound_interface(old));
	if (!r)
		r = bind_address(fd, local);
	if (r)
		return r;
	if (old >= 0)
		close(TAKE_FD(replaced)); /* two of the same addresses cannot be connected */
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	return TAKE_FD(fd);
}
