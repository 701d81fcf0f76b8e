#include "net/sock.h"
#include <errno.h>
#include <net/if.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include "base/cleanup.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int sock_set_mark(int fd, uint32_t mark)
{
	return set_int(fd, SOL_SOCKET, SO_MARK, (int)mark);
}

int sock_bind_interface(int fd, const char *name)
{
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name,
			  (socklen_t)strnlen(name, IFNAMSIZ)) < 0
		       ? -errno
		       : 0;
}

int sock_bind_ifindex(int fd, int index)
{
	char name[IFNAMSIZ];
	int r = set_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX, index);

	if (r != -ENOPROTOOPT)
		return r;
	return if_indextoname((unsigned)index, name) ? sock_bind_interface(fd, name) : -errno;
}

int sock_bind_address(int fd, const struct addr *addr, bool no_port)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(addr, &sa);

	if (no_port)
		(void)set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	return bind(fd, (struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

int sock_set_transparent(int fd, sa_family_t family)
{
	if (family == AF_INET6)
		return set_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, 1);
	return set_int(fd, IPPROTO_IP, IP_TRANSPARENT, 1);
}

int sock_set_reuse(int fd)
{
	return set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
}

int sock_set_reuse_port(int fd)
{
	return set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
}

int sock_set_fast_open_connect(int fd)
{
	return set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
}

int sock_set_dont_fragment(int fd, sa_family_t family)
{
	if (family == AF_INET6)
		return set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
	return set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
}

int sock_set_may_fragment(int fd, sa_family_t family)
{
	if (family == AF_INET6)
		return set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
	return set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
}

int sock_set_nodelay(int fd)
{
	return set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

int sock_set_oob_inline(int fd)
{
	return set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1);
}

static int seconds(uint32_t ms)
{
	return ms < 1000 ? 1 : (int)(ms / 1000);
}

int sock_set_keep_alive(int fd, const struct keep_alive *keep_alive)
{
	int r = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, keep_alive->enabled);

	if (r || !keep_alive->enabled)
		return r;
	r = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(keep_alive->idle_ms));
	if (!r)
		r = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(keep_alive->interval_ms));
	if (!r)
		r = set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)keep_alive->count);
	return r;
}

int sock_set_reset_on_close(int fd)
{
	static const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) < 0 ? -errno : 0;
}

int sock_set_silent_close(int fd)
{
	return set_int(fd, IPPROTO_TCP, TCP_REPAIR, 1);
}

int sock_set_send_buffer(int fd, uint32_t bytes)
{
	int half = (int)(bytes / 2); /* the kernel doubles it, for its own overhead (socket(7)) */
	int r = set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, half);

	return r == -EPERM ? set_int(fd, SOL_SOCKET, SO_SNDBUF, half) : r;
}

static uint32_t get_int(int fd, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, name, &value, &len) < 0 ? 0 : (uint32_t)value;
}

int sock_set_window_clamp(int fd, uint32_t bytes)
{
	return set_int(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, (int)bytes);
}

uint32_t sock_window_clamp(int fd)
{
	return get_int(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP);
}

uint32_t sock_receive_buffer(int fd)
{
	return get_int(fd, SOL_SOCKET, SO_RCVBUF);
}

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#define RECEIVE_LOCK 2 /* SOCK_RCVBUF_LOCK */

int sock_set_receive_buffer(int fd, uint32_t bytes, bool fixed)
{
	int half = (int)(bytes / 2); /* see sock_set_send_buffer() */
	int r = set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, half);

	if (r == -EPERM)
		r = set_int(fd, SOL_SOCKET, SO_RCVBUF, half);
	if (r || fixed)
		return r;
	return set_int(fd, SOL_SOCKET, SO_BUF_LOCK,
		       (int)get_int(fd, SOL_SOCKET, SO_BUF_LOCK) & ~RECEIVE_LOCK);
}

uint32_t sock_receive_memory(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);

	return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0 ? 0
								      : info[SK_MEMINFO_RMEM_ALLOC];
}

uint32_t sock_send_buffer(int fd)
{
	return get_int(fd, SOL_SOCKET, SO_SNDBUF);
}

bool sock_is_mptcp(int fd)
{
	return get_int(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_MPTCP;
}

int sock_bound_interface(int fd)
{
	return (int)get_int(fd, SOL_SOCKET, SO_BINDTOIFINDEX);
}

static struct tcp_info get_info(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	(void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	return info;
}

uint32_t sock_receive_mss(int fd)
{
	return get_info(fd).tcpi_rcv_mss;
}

uint32_t sock_unacknowledged(int fd)
{
	int bytes = 0;

	return ioctl(fd, SIOCOUTQ, &bytes) || bytes < 0 ? 0 : (uint32_t)bytes;
}

uint32_t sock_unread(int fd)
{
	int bytes = 0;

	return ioctl(fd, SIOCINQ, &bytes) || bytes < 0 ? 0 : (uint32_t)bytes;
}

#define RCV_WND_AT 232 /* tcpi_rcv_wnd, which older headers lack */

uint32_t sock_receive_window(int fd)
{
	uint32_t info[RCV_WND_AT / sizeof(uint32_t) + 1] = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len) < 0 || len < sizeof(info))
		return UINT32_MAX;
	return info[RCV_WND_AT / sizeof(uint32_t)];
}

uint32_t sock_send_mss(int fd)
{
	return get_int(fd, IPPROTO_TCP, TCP_MAXSEG);
}

#define TIMESTAMP_BYTES 12 /* with their padding */

int sock_agreed(int fd, struct sock_agreed *ret)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return -errno;
	ret->timestamps = info.tcpi_options & TCPI_OPT_TIMESTAMPS;
	ret->sack = info.tcpi_options & TCPI_OPT_SACK;
	ret->mss = info.tcpi_snd_mss + (ret->timestamps ? TIMESTAMP_BYTES : 0);
	return 0;
}

int sock_set_mss(int fd, uint32_t bytes)
{
	return set_int(fd, IPPROTO_TCP, TCP_MAXSEG, (int)bytes);
}

uint32_t sock_rtt_us(int fd)
{
	return get_info(fd).tcpi_rtt;
}

int sock_error(int fd)
{
	int err = 0;
	socklen_t len = sizeof(err);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? -errno : -err;
}

int sock_local_addr(int fd, struct addr *ret)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	return addr_from_sockaddr((struct sockaddr *)&sa, ret);
}

int sock_peer_addr(int fd, struct addr *ret)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (getpeername(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	return addr_from_sockaddr((struct sockaddr *)&sa, ret);
}

bool sock_addr_is_local(const struct addr *addr)
{
	defer_close int fd = socket(addr->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sa;
	struct addr any_port = *addr;
	socklen_t len;

	if (fd < 0)
		return true; /* cannot ask: the careful answer */
	any_port.port = 0;
	len = addr_to_sockaddr(&any_port, &sa);
	return bind(fd, (struct sockaddr *)&sa, len) == 0;
}

uint32_t sock_mark(int fd)
{
	return get_int(fd, SOL_SOCKET, SO_MARK);
}

#ifndef IPV6_2292PKTOPTIONS
#define IPV6_2292PKTOPTIONS 6
#endif

static void take_control(const struct cmsghdr *cmsg, int *ret_interface, uint8_t *ret_dscp)
{
	int value;

	if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
		*ret_interface = ((const struct in_pktinfo *)CMSG_DATA(cmsg))->ipi_ifindex;
	} else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
		*ret_interface = (int)((const struct in6_pktinfo *)CMSG_DATA(cmsg))->ipi6_ifindex;
	} else if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_TOS) {
		*ret_dscp = *CMSG_DATA(cmsg) >> 2;
	} else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_TCLASS) {
		memcpy(&value, CMSG_DATA(cmsg), sizeof(value));
		*ret_dscp = (uint8_t)(value >> 2 & 63);
	}
}

void sock_incoming(int fd, sa_family_t family, int *ret_interface, uint8_t *ret_dscp)
{
	bool v4 = family == AF_INET;
	int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	_Alignas(struct cmsghdr) char control[256];
	struct msghdr message = { .msg_control = control };
	socklen_t len = sizeof(control);

	*ret_interface = 0;
	*ret_dscp = 0;
	(void)set_int(fd, level, v4 ? IP_PKTINFO : IPV6_RECVPKTINFO, 1);
	(void)set_int(fd, level, v4 ? IP_RECVTOS : IPV6_RECVTCLASS, 1);
	if (getsockopt(fd, level, v4 ? IP_PKTOPTIONS : IPV6_2292PKTOPTIONS, control, &len) < 0)
		return;
	message.msg_controllen = len;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message); cmsg;
	     cmsg = CMSG_NXTHDR(&message, cmsg))
		take_control(cmsg, ret_interface, ret_dscp);
}

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

bool sock_may_fragment(int fd, sa_family_t family)
{
	if (family == AF_INET)
		return get_int(fd, IPPROTO_IP, IP_MTU_DISCOVER) != IP_PMTUDISC_DO;
	return get_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER) != IPV6_PMTUDISC_DO;
}

bool sock_is_transparent(int fd, sa_family_t family)
{
	return family == AF_INET ? get_int(fd, IPPROTO_IP, IP_TRANSPARENT)
				 : get_int(fd, IPPROTO_IPV6, IPV6_TRANSPARENT);
}

uint64_t sock_netns_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0 ? 0 : cookie;
}
