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

int route_socket_init(struct route_socket *socket);
void route_socket_deinit(struct route_socket *socket);
/* The index of the interface. -errno as connect() would say it: -ENETUNREACH, -EHOSTUNREACH, -EACCES. */
int route_ask(struct route_socket *socket, const struct route_question *question,
	      int *ret_interface);
