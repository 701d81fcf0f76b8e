/* tproxy - transparent sockets: a listener that accepts connections to any address, as the TPROXY target
 * of iptables and nftables hands them over (Documentation/networking/tproxy.rst). */
#pragma once
#include "net/addr.h"

/* A listening TCP socket, non-blocking, with SO_REUSEPORT, so that each worker has its own. What accepted
 * sockets inherit is set here: TCP_NODELAY, SO_OOBINLINE. "::" listens on both families. On failure
 * -errno, and *@ret_call names the system call or option that was refused. */
int tproxy_listen(const struct addr *addr, int *ret_fd, const char **ret_call);

/* A UDP socket that TPROXY hands datagrams to; each tells where it went (IP_RECVORIGDSTADDR,
 * IPV6_RECVORIGDSTADDR), by which interface and with which DSCP. Dual stack for "::". SO_REUSEPORT: workers
 * have one each, and the kernel gives all datagrams of one sender to the same. */
int tproxy_listen_udp(const struct addr *addr, int *ret_fd, const char **ret_call);
/* A UDP socket that speaks as @from, whoever has that address (IP_TRANSPARENT), to anybody; @to is not
 * AF_UNSPEC: to that one only, so that what others send to @from does not come here. CAP_NET_ADMIN. @mark:
 * SO_MARK, 0: none. */
int tproxy_reply_socket(const struct addr *from, const struct addr *to, uint32_t mark, int *ret_fd,
			const char **ret_call);
