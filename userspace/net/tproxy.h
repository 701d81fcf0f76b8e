/* tproxy - transparent sockets: a listener that accepts connections to any address, as the TPROXY target
 * of iptables and nftables hands them over (Documentation/networking/tproxy.rst). */
#pragma once
#include "net/addr.h"

/* A listening TCP socket, non-blocking, with SO_REUSEPORT, so that each worker has its own. What accepted
 * sockets inherit is set here: TCP_NODELAY, SO_OOBINLINE. "::" listens on both families. On failure
 * -errno, and *@ret_call names the system call or option that was refused. */
int tproxy_listen(const struct addr *addr, int *ret_fd, const char **ret_call);
