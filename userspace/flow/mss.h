/* mss - what clients may be told to put into a packet so that it fits every uplink, packets being what tc passes on. */
#pragma once
#include "config/config.h"
#include "kern/interfaces.h"

/* For TCP_MAXSEG of the listener at @listen, with `mss` auto; 0: what the kernel tells clients fits anyway. Uplinks are
 * the interfaces with the default route, and those that outbounds are bound to. */
uint32_t mss_for(const struct config *config, const struct netif_list *interfaces,
		 const struct addr *listen);
