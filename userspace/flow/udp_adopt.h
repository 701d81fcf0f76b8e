/* udp_adopt - the sessions that an earlier daemon has left: their datagrams went on being translated, now they have a
 * session and a socket again, as they had. */
#pragma once
#include <stdbool.h>
#include "kern/packet.h"

struct worker;

/* Only what was translated both ways, as long as its inbound is there, its port is free, and senders are shared
 * among as many workers as before: its client's other datagrams come to the one that had it. The session takes
 * @pair; else false. As parked_adopt(). */
bool udp_adopt(struct worker *workers, const struct packet_pair *pair,
	       const struct packet_spec *spec);
