/* packets - the packet method for the whole daemon: loaded, pinned, and what an earlier daemon left adopted.
 *
 * The pins are named after the network namespace, whose interfaces the programs are attached to; one daemon
 * a namespace has them. */
#pragma once
#include "flow/worker.h"

struct packets {
	struct packet *packet; /* NULL: not loaded */
	bool takes;            /* flows are taken over; else there only was something to adopt */
	int lock_fd;           /* -1: not ours */
	char dir[64];          /* of the pins; "": none */
	char reason[PACKET_REASON_MAX]; /* why flows are not taken over; "": they are */
};
#define PACKETS_NULL          \
	{                     \
		.lock_fd = -1 \
	}

/* -errno: it was asked for by relay.method and is not possible, as packets->reason says. */
int packets_open(struct packets *packets, const struct config *config);
/* The first of @workers takes what is there; all may take over from now on. Before they run. */
void packets_give(const struct packets *packets, struct worker *workers, unsigned count);
/* `seamd cleanup`, for when no daemon runs: the flows that go on without one get RST, and nothing of them stays in this
 * network namespace. @ret of PACKET_REASON_MAX bytes: what was done, or why not. -errno */
int packets_remove(char *ret);
/* After the workers have ended. Twice is fine. */
void packets_close(struct packets *packets, const struct config *config);
