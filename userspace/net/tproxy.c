#include "net/tproxy.h"
#include <errno.h>
#include "base/cleanup.h"
#include "net/sock.h"

#define BACKLOG 4096

static int set_flag(int fd, int level, int name, const char *what, const char **ret_call)
{
	static const int one = 1;

	if (!setsockopt(fd, level, name, &one, sizeof(one)))
		return 0;
	*ret_call = what;
	return -errno;
}

static int set_options(int fd, const struct addr *addr, const char **ret_call)
{
	static const int zero = 0;
	int r = set_flag(fd, SOL_SOCKET, SO_REUSEADDR, "setsockopt(SO_REUSEADDR)", ret_call);

	if (!r)
		r = set_flag(fd, SOL_SOCKET, SO_REUSEPORT, "setsockopt(SO_REUSEPORT)", ret_call);
	if (!r && addr->family == AF_INET6) {
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
		r = set_flag(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, "setsockopt(IPV6_TRANSPARENT)",
			     ret_call);
	}
	if (!r)
		r = set_flag(fd, IPPROTO_IP, IP_TRANSPARENT, "setsockopt(IP_TRANSPARENT)",
			     ret_call);
	if (!r) {
		*ret_call = "setsockopt(TCP_NODELAY)";
		r = sock_set_nodelay(fd);
	}
	if (!r) {
		*ret_call = "setsockopt(SO_OOBINLINE)";
		r = sock_set_oob_inline(fd);
	}
	return r;
}

int tproxy_listen(const struct addr *addr, int *ret_fd, const char **ret_call)
{
	defer_close int fd = socket(addr->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(addr, &sa);
	int r;

	if (fd < 0) {
		*ret_call = "socket";
		return -errno;
	}
	r = set_options(fd, addr, ret_call);
	if (r)
		return r;
	if (bind(fd, (struct sockaddr *)&sa, len) < 0) {
		*ret_call = "bind";
		return -errno;
	}
	if (listen(fd, BACKLOG) < 0) {
		*ret_call = "listen";
		return -errno;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}
