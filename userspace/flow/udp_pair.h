/* udp_pair - a session that lives on is translated by tc past its sockets (kern/packet.h), as far as it speaks to
 * its first destination. The sockets stay: they hold the port, and carry what the client sends elsewhere, what
 * others send to it, and what tc leaves alone (fragments, what does not fit the way out).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "kern/packet.h"

struct udp_session;

enum udp_pair_state {
	UDP_PAIR_NONE, /* it has not shown that it lives */
	UDP_PAIR_HALF, /* the server's datagrams are to be translated: if they are, no NAT is between */
	UDP_PAIR_OPEN,  /* both directions are */
	UDP_PAIR_NEVER, /* it cannot be */
};

struct udp_pair {
	struct packet_pair pair; /* in UDP_PAIR_HALF and _OPEN */
	enum udp_pair_state state;
	struct addr local;     /* of the upstream's socket, as the pair has it */
	uint64_t packets_seen; /* at the last look */
	unsigned misses;       /* batches that came to the socket all the same */
};

/* The server has answered: it may be time to begin, or to see that it does not work. */
void udp_pair_answered(struct udp_session *session);
/* The client has sent: the server's may have been translated meanwhile. */
void udp_pair_asked(struct udp_session *session);
/* An earlier daemon's, which was open: it is the session's now. */
void udp_pair_adopt(struct udp_session *session, const struct packet_pair *pair,
		    const struct packet_spec *spec);
/* Whether anything was translated since the last look. */
bool udp_pair_was_used(struct udp_session *session);
/* Translated so far; none is fine. */
void udp_pair_stats(const struct udp_session *session, struct packet_stats *ret);
/* Routes may have changed. */
void udp_pair_follow(struct udp_session *session);
/* It goes on in user space, for good. */
void udp_pair_leave(struct udp_session *session);
/* From the session's timer: routes are followed, and the label kept up to date. How soon it wants to be asked
 * again, ms; UINT32_MAX: never. */
uint32_t udp_pair_look(struct udp_session *session);
/* Adds to the session's counters. At the end of the daemon an open one goes on, with on_exit keep. */
void udp_pair_end(struct udp_session *session);
