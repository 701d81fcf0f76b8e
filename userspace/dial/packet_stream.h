/* packet_stream - the way of datagrams through a stream that ends at one target, as frames (proto/frames.h).
 *
 * What the stream owes leaves in one write with the first datagrams. One that finds no room in the send queue
 * is lost, and never in part: the rest of one that has begun is kept until there is.
 */
#pragma once
#include "dial/dial.h"
#include "dial/packet.h"

/* @io is moved from and @owed taken over; both stay the caller's on -errno, and *@ret_call says what failed. */
int packet_stream_new(struct packet_way **ret, struct loop_io *io, struct dial_owed *owed,
		      const struct target *target, const char **ret_call);
