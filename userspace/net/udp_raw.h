/* udp_raw - datagrams that leave from an address and port without a UDP socket there: one would take what is
 * sent to a service of this host, or is refused (EADDRINUSE) where the service keeps the port to itself.
 *
 * A raw socket (raw(7)): the UDP header is made here, IP header and fragments by the kernel, without DF as those
 * of tproxy_reply_socket(). It receives nothing, and is told of no ICMP.
 */
#pragma once
#include <stdint.h>
#include "net/addr.h"
#include "net/datagram.h"

/* Non-blocking; speaks as @from's address, whoever has it. -EPERM: opening takes CAP_NET_RAW, and @mark (SO_MARK,
 * 0: none) CAP_NET_ADMIN, using it neither. -EADDRNOTAVAIL: an IPv4 address that is not ours, before 5.17. */
int udp_raw_open(const struct addr *from, uint32_t mark, int *ret_fd);
/* As datagram_send() does, from @from's port, each to its destination, which is of @from's family. None has a
 * head. Trains go one by one. */
void udp_raw_send(int fd, const struct addr *from, const struct datagram *list, unsigned count,
		  struct datagram_sent *ret);
