/* icmp - tells the sender of a datagram that it does not get through: destination unreachable, port
 * unreachable (RFC 792, RFC 4443 3.1), in the name of the host that it was sent to. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "net/addr.h"

/* Raw sockets; one of them a worker. CAP_NET_RAW to open, none to use. */
struct icmp {
	int fd4, fd6; /* -1: this family is not to be had */
};

int icmp_open(struct icmp *icmp, uint32_t mark); /* SO_MARK, 0: none; -errno: neither family */
void icmp_close(struct icmp *icmp);              /* zeroed is not fine, { -1, -1 } is */
/* A datagram of @data (one, not a train) went from @source to @destination; as much of it is quoted as has
 * room. -EINVAL: these are not two hosts of one family; -EAFNOSUPPORT; -errno of sendto(). The caller limits
 * the rate. */
int icmp_port_unreachable(struct icmp *icmp, const struct addr *source,
			  const struct addr *destination, const uint8_t *data, size_t len);
