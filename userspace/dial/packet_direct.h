/* packet_direct - the way of datagrams without a proxy: a UDP socket.
 *
 * Bound, it is connected: an ICMP error that says nobody takes them ends it (RFC 1122 4.1.3.3). Otherwise
 * nothing does. A datagram that is refused (too long, no route, a full queue) is lost, and counted. */
#pragma once
#include "dial/packet.h"

/* Takes over the UDP socket that @io has registered. @bound: it is connected to @peer.
 * @trains: they may be received (UDP_GRO). -errno: the socket
 * stays with @io, or is closed. */
int packet_direct_new(struct packet_way **ret, struct loop_io *io, const struct addr *peer,
		      bool bound, bool trains);
struct direct_udp_socket;
/* By a socket as that was. -errno */
int packet_direct_reopen(struct packet_way **ret, struct loop *loop,
			 const struct direct_udp_socket *was);
