/* neighbour - the link-layer address of a host on the same link, as the kernel has it (RTM_GETNEIGH, 5.0). */
#pragma once
#include "kern/route.h"

#define NEIGHBOUR_MAC_BYTES 6

/* -ENOENT: not known, or no MAC of 6 bytes. The port of @addr does not matter. */
int neighbour_mac(struct route_socket *socket, int interface, const struct addr *addr,
		  uint8_t ret_mac[NEIGHBOUR_MAC_BYTES]);
