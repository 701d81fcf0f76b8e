/* packet_syn - SYNs of ours that offer less than the kernel has them offer (bpf/lib/packet_syn.h), so that a connection
 * comes to be like another one, and tc can translate the one into the other. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct packet;

struct syn_limits {
	bool no_timestamps, no_sack;
	uint16_t mss; /* the most that it may announce; 0: anything */
};

/* For the connection that @fd is going to make, by @interface, which gets a program at its egress, once. Any thread.
 * -EOPNOTSUPP: not one that tc can serve; other -errno from attaching, or of the map. */
int packet_limit_syn(struct packet *packet, int fd, int interface, const struct syn_limits *limits);
