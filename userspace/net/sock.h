/* sock - socket options, each a named function with its reason. 0 or -errno. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "net/addr.h"

/* SO_MARK: policy routing, and the firewall rules that must not catch us again. CAP_NET_ADMIN. */
int sock_set_mark(int fd, uint32_t mark);
/* SO_BINDTODEVICE: leaves by this interface whatever the routes say. The name is looked up in the socket's
 * own network namespace, and names an interface that was made anew as well. */
int sock_bind_interface(int fd, const char *name);
/* SO_BINDTOIFINDEX (5.1); before, by the name that @index has in the namespace of the caller. That it is
 * gone is found out by connect(): ENODEV for IPv4, ENETUNREACH for IPv6. */
int sock_bind_ifindex(int fd, int index);
int sock_bound_interface(int fd); /* its index; 0: none, or unknown */
/* @no_port: IP_BIND_ADDRESS_NO_PORT (4.2) leaves the choice of port 0 to connect(), which can share ports
 * between destinations; otherwise 28 000 flows exhaust a source address. Where it is refused (MPTCP of
 * older kernels) bind() chooses: fewer ports to share, and nothing else. */
int sock_bind_address(int fd, const struct addr *addr, bool no_port);
/* IP_TRANSPARENT, IPV6_TRANSPARENT: may be bound to addresses that are not ours. CAP_NET_ADMIN. */
int sock_set_transparent(int fd, sa_family_t family);
/* SO_REUSEADDR: a TCP port may be bound by many, as long as their connections differ and none listens. */
int sock_set_reuse(int fd);
int sock_set_reuse_port(int fd); /* SO_REUSEPORT: by sockets of this user that all have it */
/* TCP_FASTOPEN_CONNECT (4.11): with a cookie of the server connect() returns 0 at once, and the first
 * write() sends the SYN with its data. -EOPNOTSUPP: bit 1 of net.ipv4.tcp_fastopen is off. */
int sock_set_fast_open_connect(int fd);
/* Path MTU discovery always on: a datagram that is too long is refused (EMSGSIZE), never cut. */
int sock_set_dont_fragment(int fd, sa_family_t family);
/* Path MTU discovery off: no DF, what is too long is fragmented, here and (IPv4) by the routers. */
int sock_set_may_fragment(int fd, sa_family_t family);
bool sock_may_fragment(int fd, sa_family_t family); /* not sock_set_dont_fragment() */
bool sock_is_mptcp(int fd);
/* Relayed small messages must not wait for an acknowledgement (Nagle). */
int sock_set_nodelay(int fd);
/* Urgent data is forwarded inline: SO_OOBINLINE. */
int sock_set_oob_inline(int fd);
struct keep_alive {
	bool enabled;
	uint32_t idle_ms, interval_ms, count;
};
int sock_set_keep_alive(int fd, const struct keep_alive *keep_alive);
/* close() sends RST, and drops what was not sent: SO_LINGER {1, 0}. */
int sock_set_reset_on_close(int fd);
/* close() says nothing at all: TCP_REPAIR (3.5), as if the host were gone. What the peer sends after it is
 * answered by RST. CAP_NET_ADMIN. */
int sock_set_silent_close(int fd);
/* A TCP socket that is connected as far as this host knows, and says nothing, ever (TCP_REPAIR): nobody else
 * gets its addresses. @mark: of its route, 0: none. It takes the place of @old, a socket with the same addresses
 * in TCP_REPAIR, whose interface it takes over and which is closed in any case; -1: there is none. The
 * descriptor, or -errno. CAP_NET_ADMIN. */
int sock_stand_in(const struct addr *local, const struct addr *remote, uint32_t mark, int old);
/* The most the send queue may hold. Fixes it: the kernel no longer tunes it. CAP_NET_ADMIN beyond
 * net.core.wmem_max. */
int sock_set_send_buffer(int fd, uint32_t bytes);

/* TCP_WINDOW_CLAMP: the peer may send no more than @bytes ahead, once it has used what it was offered. */
int sock_set_window_clamp(int fd, uint32_t bytes);
uint32_t sock_window_clamp(int fd);   /* 0 if unknown */
uint32_t sock_receive_mss(int fd);    /* TCP_INFO; 0 if unknown */
uint32_t sock_receive_buffer(int fd); /* the present limit, 0 if unknown */
/* The most that may wait to be received; without CAP_NET_ADMIN net.core.rmem_max is all it gets. @fixed: until
 * it is told otherwise (SO_BUF_LOCK, 5.17) the kernel does not tune it. A limit below what is used makes what
 * comes then be dropped. */
int sock_set_receive_buffer(int fd, uint32_t bytes, bool fixed);
uint32_t sock_receive_memory(int fd); /* what is used of it (SO_MEMINFO), 0 if unknown */
uint32_t sock_send_buffer(int fd);    /* the present limit, 0 if unknown */
/* Bytes that are not acknowledged, or not even sent; SIOCOUTQ. */
uint32_t sock_unacknowledged(int fd);
uint32_t sock_unread(int fd); /* bytes that wait to be read, SIOCINQ */
/* What the peer may still send before it is told more, TCP_INFO (6.2); UINT32_MAX: unknown. */
uint32_t sock_receive_window(int fd);
uint32_t sock_send_mss(int fd); /* TCP_MAXSEG: payload of a full segment; 0 if unknown */
/* What a connection has agreed on, TCP_INFO. */
struct sock_agreed {
	bool timestamps, sack;
	uint32_t mss; /* payload of a full segment to the peer, were there no timestamps in it */
};
int sock_agreed(int fd, struct sock_agreed *ret);
/* TCP_MAXSEG of a listener: the peers of what it accepts are told no more; IPv4 and IPv6 alike. 88 to 32767; 0: as
 * their way in has it. */
int sock_set_mss(int fd, uint32_t bytes);
uint32_t sock_rtt_us(int fd); /* smoothed round trip time, TCP_INFO; 0 if unknown */

/* The interface that the SYN of an accepted socket came in by, and its DSCP; 0 if unknown (IP_PKTOPTIONS,
 * IPV6_2292PKTOPTIONS). @family: of its peer. */
void sock_incoming(int fd, sa_family_t family, int *ret_interface, uint8_t *ret_dscp);
uint32_t sock_mark(int fd); /* 0: none */
/* Whether it may have an address that is not ours. @family: of the socket's own address. */
bool sock_is_transparent(int fd, sa_family_t family);
uint64_t sock_netns_cookie(int fd); /* of its network namespace (5.14); 0: unknown */
int sock_error(int fd);             /* SO_ERROR as -errno, 0: none; reading clears it */
int sock_local_addr(int fd, struct addr *ret);
int sock_peer_addr(int fd, struct addr *ret);
/* Whether the address is one of this host's own, in this network namespace, now. */
bool sock_addr_is_local(const struct addr *addr);
