#include "dial/direct_udp.h"
#include <errno.h>
#include "base/cleanup.h"
#include "net/netns.h"
#include "net/sock.h"

int direct_udp_connect(int fd, const struct addr *to)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(to, &sa);

	return connect(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

/* Mark, interface and source, as they are now: a service at protect_path may have set them. */
static int be_like(int fd, int other)
{
	struct addr source;
	uint32_t mark = sock_mark(other);
	int interface = sock_bound_interface(other);
	int r = sock_local_addr(other, &source);

	if (!r && mark)
		r = sock_set_mark(fd, mark);
	if (!r && interface)
		r = sock_bind_ifindex(fd, interface);
	if (r || addr_is_unspecified(&source))
		return r;
	if (sock_is_transparent(other, source.family))
		r = sock_set_transparent(fd, source.family);
	source.port = 0;
	return r ? r : sock_bind_address(fd, &source, true);
}

/* By another socket. The one itself, connected and dissolved again (AF_UNSPEC), is no longer what it was: the
 * kernel has taken its interface and the port it had chosen (__udp_disconnect()), and with IPv6 goes on to
 * deliver from that peer alone (6.18). */
int direct_udp_route(int fd, struct netns *netns, const struct addr *to)
{
	defer_close int probe = netns_socket(netns, to->family,
					     SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (probe < 0 || be_like(probe, fd))
		return 0;
	return direct_udp_connect(probe, to);
}

int direct_udp_local(int fd, const struct addr *to, struct addr *ret)
{
	defer_close int probe = netns_socket(NULL, to->family,
					     SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct addr bound;
	int r = sock_local_addr(fd, &bound);

	*ret = bound;
	if (r || !addr_is_unspecified(&bound))
		return r;
	r = probe < 0 ? probe : be_like(probe, fd);
	if (!r)
		r = direct_udp_connect(probe, to);
	if (!r)
		r = sock_local_addr(probe, ret);
	ret->port = bound.port;
	return r;
}

/* In this order: where both sides allow it, the kernel also chooses a port that another socket has, and that
 * one's datagrams come here (of 800 sockets 36 shared one, 6.18). */
int direct_udp_share_port(int fd, const char **ret_call)
{
	const char *call = "bind of reuse_addr";
	struct addr local;
	int r = sock_local_addr(fd, &local);

	if (!r && !local.port)
		r = sock_bind_address(fd, &local, false);
	if (!r) {
		call = "setsockopt(SO_REUSEADDR) of reuse_addr";
		r = sock_set_reuse(fd);
	}
	if (!r) {
		call = "setsockopt(SO_REUSEPORT) of reuse_addr";
		r = sock_set_reuse_port(fd);
	}
	if (r)
		*ret_call = call;
	return r;
}

/* Transparent ones may have a client's port beside each other. */
static int bind_again(int fd, const struct direct_udp_socket *was)
{
	int r = 0;

	if (was->transparent)
		r = sock_set_transparent(fd, was->local.family);
	if (!r && was->transparent)
		r = sock_set_reuse(fd);
	return r ? r : sock_bind_address(fd, &was->local, false);
}

int direct_udp_reopen(const struct direct_udp_socket *was)
{
	defer_close int fd = netns_socket(NULL, was->local.family,
					  SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r = fd < 0 ? fd : 0;

	if (!r && was->interface)
		r = sock_bind_ifindex(fd, was->interface);
	if (!r && was->mark)
		r = sock_set_mark(fd, was->mark);
	if (!r && !was->may_fragment)
		r = sock_set_dont_fragment(fd, was->local.family);
	if (!r)
		r = bind_again(fd, was);
	if (!r && was->connected)
		r = direct_udp_connect(fd, &was->peer);
	return r ? r : TAKE_FD(fd);
}
