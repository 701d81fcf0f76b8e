/* route - asks the kernel which way a packet would go (RTM_GETROUTE), with mark and source, so that policy
 * routing counts. The answer is there when the question is sent: nothing waits. */
#pragma once
#include "net/addr.h"

struct route_socket {
	int fd; /* -1: not open */
	uint32_t seq;
};

struct route_question {
	struct addr destination, source; /* source AF_UNSPEC: the kernel's choice */
	uint32_t mark;
	int interface; /* not 0: only a route that leaves by it counts */
};

struct route_answer {
	int interface;
	/* Who packets are handed to on the link: the gateway, of IPv4 maybe an IPv6 one (RFC 5549), or the
	 * destination itself. Without port. AF_UNSPEC: there is a way, but the kernel did not tell it all. */
	struct addr next_hop;
};

int route_socket_init(struct route_socket *socket);
void route_socket_deinit(struct route_socket *socket);
/* -errno as connect() would say it: -ENETUNREACH, -EHOSTUNREACH, -EACCES; @ret is as it was then. */
int route_ask(struct route_socket *socket, const struct route_question *question,
	      struct route_answer *ret);
