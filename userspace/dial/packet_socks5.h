/* packet_socks5 - the way of datagrams through a SOCKS5 proxy: a header before each, by a way to its relay.
 *
 * The association lasts as long as the connection that asked for it: when that ends, or says anything, the
 * way has ended.
 */
#pragma once
#include "dial/dial.h"
#include "dial/packet.h"

/* @control is moved from and @below taken over; both stay the caller's on -errno, and *@ret_call says what
 * failed. @request: what was dialed; with one_peer nothing but its target is heard. */
int packet_socks5_new(struct packet_way **ret, struct loop_io *control, struct packet_way *below,
		      const struct dial_request *request, const char **ret_call);
/* 0: the association lasts; or -errno, with *@ret_call. */
int packet_socks5_control(struct loop_io *control, const char **ret_call);
