#include <errno.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "net/sock.h"

int sock_stand_in(const struct addr *local, const struct addr *remote, int old)
{
	defer_close int fd = socket(local->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(remote, &sa);
	int r;

	if (fd < 0)
		return -errno;
	r = sock_set_silent_close(fd); /* from here on it may share a port with any other */
	if (!r)
		r = sock_set_transparent(fd, local->family);
	if (!r)
		r = sock_bind_address(fd, local, false);
	if (r)
		return r;
	if (old >= 0)
		close(old); /* two of the same addresses cannot be connected */
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	return TAKE_FD(fd);
}
