/* The kernel's side of kern/packet.h, played: it notes what it is asked for, and does as it is told. */
#pragma once
#include "common.h"
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include "base/clock.h"
#include "net/sock.h"
#include "relay/taker.h"

static struct kernel {
	struct seam_pair shared;
	int add_result;
	unsigned added, removed, armed, disarmed, ways;
	uint32_t owed[SIDES];
	uint32_t miss; /* why each arming is missed at once; 0: it stays armed */
	bool takes;    /* or it is taken at once */
	uint64_t armed_ms[32];
	uint32_t unread[SIDES]; /* when it was armed */
} kernel;

static struct packet *const a_packet = (struct packet *)&kernel;

int packet_add(struct packet *packet, const struct packet_spec *spec, struct packet_pair *ret)
{
	assert_ptr_equal(packet, a_packet);
	assert_int_equal(spec->label.id, 4711);
	assert_int_equal(spec->protocol, IPPROTO_TCP);
	if (kernel.add_result)
		return kernel.add_result;
	kernel.added++;
	memset(&kernel.shared, 0, sizeof(kernel.shared));
	kernel.shared.from = 3;
	*ret = (struct packet_pair){ .packet = packet, .shared = &kernel.shared };
	return 0;
}

void packet_remove(struct packet_pair *pair)
{
	kernel.removed += pair->packet != NULL;
	*pair = (struct packet_pair){ .packet = NULL };
}

int packet_set_label(const struct packet_pair *pair, const struct seam_label *label)
{
	assert_int_equal(label->id, 4711);
	return 0;
}

int packet_set_way(const struct packet_pair *pair, int side, const struct packet_end *end)
{
	assert_true(addr_is_loopback(&end->next_hop));
	assert_true(end->interface > 0);
	kernel.ways |= 1U << side;
	return 0;
}

static uint32_t unacked(int fd)
{
	int bytes = 0;

	assert_int_equal(ioctl(fd, SIOCOUTQ, &bytes), 0);
	return (uint32_t)bytes;
}

int packet_arm(const struct packet_pair *pair, const int fd[2], uint64_t snapshot,
	       const uint32_t owed[2])
{
	assert_int_not_equal(kernel.shared.state, SEAM_PACKET_ARMED);
	if (!packet_seen_both(pair))
		return -EAGAIN;
	assert_int_equal(snapshot, kernel.shared.seen);
	if (kernel.armed < 32)
		kernel.armed_ms[kernel.armed] = clock_ms();
	kernel.armed++;
	for (int side = 0; side < SIDES; side++) {
		assert_int_equal(unacked(fd[side]), 0);
		kernel.unread[side] = sock_unread(fd[side]);
		kernel.owed[side] = owed[side];
	}
	kernel.shared.state = kernel.takes  ? SEAM_PACKET_TAKEN
			      : kernel.miss ? SEAM_PACKET_MISSED
					    : SEAM_PACKET_ARMED;
	kernel.shared.why = kernel.miss;
	return 0;
}

enum seam_packet_state packet_disarm(const struct packet_pair *pair)
{
	kernel.disarmed++;
	if (kernel.shared.state != SEAM_PACKET_TAKEN)
		kernel.shared.state = SEAM_PACKET_OFF;
	return (enum seam_packet_state)kernel.shared.state;
}

void packet_stats(const struct packet_pair *pair, struct packet_stats *ret)
{
	*ret = (struct packet_stats){ .bytes = { 0, 0 } };
}
