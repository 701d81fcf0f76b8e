/* direct_udp - what a UDP socket of an outbound needs besides its options. */
#pragma once
#include <stdbool.h>
#include "net/addr.h"

struct netns;

/* From here on only to @to and from it. -errno: there is no route. */
int direct_udp_connect(int fd, const struct addr *to);
/* Whether there is a route to @to for what @fd would send, which stays as it is: unconnected, and without a
 * port if it had none. @netns: of @fd; NULL: ours. 0, also if that cannot be asked; or -errno as connect()
 * says it. */
int direct_udp_route(int fd, struct netns *netns, const struct addr *to);
/* The address that what @fd sends to @to comes from, with its port; in our network namespace. -errno */
int direct_udp_local(int fd, const struct addr *to, struct addr *ret);
/* A socket that an earlier process had, in our network namespace. */
struct direct_udp_socket {
	struct addr local, peer; /* the local address may be unspecified */
	uint32_t mark;           /* 0: none */
	int interface;           /* 0: bound to none */
	bool connected, transparent, may_fragment;
};
/* One as it was: the descriptor, or -errno (-EADDRINUSE: the port is somebody else's by now). */
int direct_udp_reopen(const struct direct_udp_socket *was);
/* SO_REUSEADDR and SO_REUSEPORT: others may bind to the port of @fd, which gets one now if it has none.
 * -errno, with *@ret_call what was refused. */
int direct_udp_share_port(int fd, const char **ret_call);
