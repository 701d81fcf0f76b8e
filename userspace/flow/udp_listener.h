/* udp_listener - receives what TPROXY hands over for a worker. */
#pragma once
#include "loop/loop.h"
#include "net/datagram.h"

struct worker;
struct inbound;

struct udp_listener {
	struct worker *worker;
	const struct inbound *inbound;
	struct loop_io io; /* owns the socket */
};

/* -errno and @reason (256 bytes). */
int udp_listener_init(struct udp_listener *listener, struct worker *worker,
		      const struct inbound *inbound, char *reason);
void udp_listener_deinit(struct udp_listener *listener); /* twice is fine */
