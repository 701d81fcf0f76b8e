/* tproxy - transparent sockets: a listener that accepts connections to any address, as the TPROXY target
 * of iptables and nftables hands them over (Documentation/networking/tproxy.rst). */
#pragma once
#include "net/addr.h"

/* A listening TCP socket, non-blocking, with SO_REUSEPORT, so that each worker has its own. What accepted
 * sockets inherit is set here: TCP_NODELAY, SO_OOBINLINE. "::" listens on both families. On failure
 * -errno, and *@ret_call names the system call or option that was refused. */
int tproxy_listen(const struct addr *addr, int *ret_fd, const char **ret_call);

/* A UDP socket, non-blocking, that TPROXY hands datagrams to; each tells where it went (IP_RECVORIGDSTADDR,
 * IPV6_RECVORIGDSTADDR), by which interface and with which DSCP. Dual stack for "::". SO_REUSEPORT: workers
 * have one each, and the kernel gives all datagrams of one sender to the same, as long as these come in by one
 * interface. With UDP_GRO if there is any. */
int tproxy_listen_udp(const struct addr *addr, int *ret_fd, const char **ret_call);
/* A UDP socket, non-blocking, that sends to anybody, from @port and from the source that each datagram names
 * (net/datagram.h), whoever has that address (IP_TRANSPARENT). It is bound to an address of documents (192.0.2.1,
 * RFC 5737), of discarding (100::1, RFC 6666), so nothing is sent to it, and it takes nothing from services of this
 * host nor from the listener. CAP_NET_ADMIN. @mark: SO_MARK, 0: none.
 *
 * Its datagrams have no DF and are fragmented where they must be: path MTU discovery cannot work, for a router
 * that finds one too long tells their source, not us. -EADDRINUSE: a service of this host has the port on all
 * addresses, without SO_REUSEADDR. */
int tproxy_reply_socket(sa_family_t family, uint16_t port, uint32_t mark, int *ret_fd,
			const char **ret_call);
