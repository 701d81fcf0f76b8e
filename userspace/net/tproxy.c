#include "net/tproxy.h"
#include <errno.h>
#include "base/cleanup.h"
#include "net/datagram.h"
#include "net/sock.h"

#define BACKLOG     4096
/* Answers to all clients from one port wait in it. More than the queue of an interface holds (32 MiB, memory_limit
 * of fq_codel), so that those that wait for a slow one do not keep back the others. */
#define REPLY_QUEUE (64U << 20)

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
	return r;
}

static int set_stream_options(int fd, const char **ret_call)
{
	int r;

	*ret_call = "setsockopt(TCP_NODELAY)";
	r = sock_set_nodelay(fd);
	if (r)
		return r;
	*ret_call = "setsockopt(SO_OOBINLINE)";
	return sock_set_oob_inline(fd);
}

static int bind_to(int fd, const struct addr *addr, const char **ret_call)
{
	*ret_call = "bind";
	return sock_bind_address(fd, addr, false);
}

int tproxy_listen(const struct addr *addr, int *ret_fd, const char **ret_call)
{
	defer_close int fd = socket(addr->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0) {
		*ret_call = "socket";
		return -errno;
	}
	r = set_options(fd, addr, ret_call);
	if (!r)
		r = set_stream_options(fd, ret_call);
	if (!r)
		r = bind_to(fd, addr, ret_call);
	if (r)
		return r;
	if (listen(fd, BACKLOG) < 0) {
		*ret_call = "listen";
		return -errno;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* What datagram_receive() makes destination, interface and DSCP of. A dual-stack socket needs both kinds. */
static int set_reports(int fd, sa_family_t family, const char **ret_call)
{
	static const struct {
		int level, name;
		const char *what;
	} reports[] = {
		{ IPPROTO_IP, IP_RECVORIGDSTADDR, "setsockopt(IP_RECVORIGDSTADDR)" },
		{ IPPROTO_IP, IP_PKTINFO, "setsockopt(IP_PKTINFO)" },
		{ IPPROTO_IP, IP_RECVTOS, "setsockopt(IP_RECVTOS)" },
		{ IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, "setsockopt(IPV6_RECVORIGDSTADDR)" },
		{ IPPROTO_IPV6, IPV6_RECVPKTINFO, "setsockopt(IPV6_RECVPKTINFO)" },
		{ IPPROTO_IPV6, IPV6_RECVTCLASS, "setsockopt(IPV6_RECVTCLASS)" },
	};
	int r = 0;

	for (size_t i = 0; !r && i < sizeof(reports) / sizeof(reports[0]); i++)
		if (reports[i].level == IPPROTO_IP || family == AF_INET6)
			r = set_flag(fd, reports[i].level, reports[i].name, reports[i].what,
				     ret_call);
	return r;
}

int tproxy_listen_udp(const struct addr *addr, int *ret_fd, const char **ret_call)
{
	defer_close int fd = socket(addr->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0) {
		*ret_call = "socket";
		return -errno;
	}
	r = set_options(fd, addr, ret_call);
	if (!r)
		r = set_reports(fd, addr->family, ret_call);
	if (!r) {
		datagram_set_queues(fd);
		(void)datagram_set_gro(fd); /* one by one then */
		r = bind_to(fd, addr, ret_call);
	}
	if (r)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int set_reply_options(int fd, sa_family_t family, uint32_t mark, const char **ret_call)
{
	int r;

	*ret_call = "setsockopt(IP_TRANSPARENT)";
	r = sock_set_transparent(fd, family);
	if (r)
		return r;
	*ret_call = "setsockopt(SO_REUSEADDR)";
	r = sock_set_reuse(fd);
	if (r)
		return r;
	*ret_call = "setsockopt(SO_MARK)";
	r = mark ? sock_set_mark(fd, mark) : 0;
	if (r)
		return r;
	*ret_call = "setsockopt(IP_MTU_DISCOVER)";
	return sock_set_may_fragment(fd, family);
}

/* Documentation (RFC 5737), discard-only (RFC 6666): no host has it, nobody sends there. */
static struct addr nobody(sa_family_t family, uint16_t port)
{
	if (family == AF_INET)
		return (struct addr){ .family = AF_INET,
				      .port = port,
				      .v4.s_addr = htonl(0xc0000201) };
	return (struct addr){ .family = AF_INET6,
			      .port = port,
			      .v6.s6_addr = { [0] = 1, [15] = 1 } };
}

int tproxy_reply_socket(sa_family_t family, uint16_t port, uint32_t mark, int *ret_fd,
			const char **ret_call)
{
	defer_close int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	const struct addr addr = nobody(family, port);
	int r;

	if (fd < 0) {
		*ret_call = "socket";
		return -errno;
	}
	r = set_reply_options(fd, family, mark, ret_call);
	if (!r)
		r = bind_to(fd, &addr, ret_call);
	if (r)
		return r;
	(void)sock_set_send_buffer(fd, REPLY_QUEUE);
	(void)sock_set_receive_buffer(fd, 0, true); /* the least: nobody reads */
	*ret_fd = TAKE_FD(fd);
	return 0;
}
