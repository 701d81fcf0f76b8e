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
/* A UDP socket, non-blocking, that speaks as @from, whoever has that address (IP_TRANSPARENT), to anybody. TPROXY
 * goes on handing what is sent to @from to the listener; what the host takes for its own comes here, with UDP_GRO
 * if there is any. CAP_NET_ADMIN. @mark: SO_MARK, 0: none.
 *
 * Its datagrams have no DF and are fragmented where they must be: path MTU discovery cannot work, for a router
 * that finds one too long tells @from, not us. -EADDRINUSE: a service of this host has the port, there or on all
 * addresses, without SO_REUSEADDR. */
int tproxy_reply_socket(const struct addr *from, uint32_t mark, int *ret_fd, const char **ret_call);
