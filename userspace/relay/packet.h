/* packet - has tc take the two connections of a relay over (kern/packet.h): finds a moment at which both are
 * quiet, or makes one.
 *
 * It begins after enter_after reads or some KiB. Copy carries the relay meanwhile. Three ways, each tried when it fits:
 * - it is quiet by itself: armed, the next packet takes it;
 * - it talks all the time, in short messages: one of them waits 2 ms, then it is armed, and the answer to
 *   the message takes it;
 * - it is busy: after stall_after bytes its windows are narrowed and nothing is read for some milliseconds,
 *   while the far side gets copies of what waits; then it is armed, and the segment that the opened window
 *   invites takes it.
 * An attempt that fails changes nothing; the next comes after a longer pause, and after TAKER_MISSES_MOST of
 * them it is given up. What can never be taken says why in relay->untaken, and goes another way.
 */
#pragma once
#include "kern/packet.h"
#include "kern/route.h"
#include "net/stream.h"

#define TAKER_MISSES_MOST 16U

struct relay;

/* Why tc did not take a relay. */
enum relay_untaken {
	UNTAKEN_NOT, /* it did, or may still */
	UNTAKEN_FAMILY,
	UNTAKEN_NETNS, /* the upstream's socket is in another network namespace */
	UNTAKEN_MPTCP,
	UNTAKEN_ROUTE,     /* there is none to one of the hosts */
	UNTAKEN_INTERFACE, /* without tc: loopback, so also clients on this host */
	UNTAKEN_PAIRS,     /* all are in use */
	UNTAKEN_TUPLE,     /* the addresses are still those of another pair */
	UNTAKEN_UNSEEN,    /* its packets do not come by as the sockets have them: NAT */
	UNTAKEN_BUSY,      /* too many attempts failed */
	UNTAKEN_SOCKETS,   /* the kernel said no to these two */
	UNTAKEN_MEMORY,
	UNTAKEN_MSS, /* these are what the two connections agreed on with their hosts: seam/abi.h */
	UNTAKEN_TIMESTAMP,
	UNTAKEN_SACK,
	UNTAKEN_ECN,
	UNTAKEN_OPTION,
	UNTAKEN_LAYER,
	UNTAKEN_REMOVED, /* relay_packet_leave() */
	UNTAKEN_COUNT,
};
extern const char *const relay_untaken_names[UNTAKEN_COUNT];

/* relay->missed, beside 1 << enum seam_packet_why: user space gave the attempt up, it was not quiet in time or
 * something else came first. */
#define RELAY_MISSED_WITHDRAWN SEAM_WHY_COUNT
#define RELAY_MISSED_COUNT     (SEAM_WHY_COUNT + 1)
extern const char *const relay_missed_names[RELAY_MISSED_COUNT];
/* The reasons in @missed as words, "moved, owed", into @buf of RELAY_MISSED_STRLEN bytes, which it returns. */
const char *relay_missed_format(uint32_t missed, char *buf);
#define RELAY_MISSED_STRLEN 160

/* What the relays of a worker share of it. */
struct packet_env {
	struct packet *packet; /* NULL: nothing is taken; borrowed, like the next */
	struct route_socket *routes;
	uint64_t stall_after; /* 0: never */
	/* What `seamctl` tells of the flow, bytes included; set by the owner of the relays. */
	void (*describe)(const struct relay *relay, struct seam_label *ret);
	/* An attempt failed (relay->missed), or there will be none any more (relay->untaken); NULL: nobody
	 * wants to know. */
	void (*tell)(const struct relay *relay);
	uint64_t taken, missed, missed_why[RELAY_MISSED_COUNT], untaken[UNTAKEN_COUNT];
};

/* For relay.c. */
enum taker_turn { TAKER_GO, TAKER_REST, TAKER_TOOK }; /* the pumps run, or not; taken */

bool relay_packet_wants(const struct relay *relay); /* it is time for relay_packet_enter() */
void relay_packet_enter(struct relay *relay);
int relay_packet_turn(struct relay *relay);   /* enum taker_turn, -errno */
void relay_packet_after(struct relay *relay); /* the pumps have run */
void relay_packet_stop(struct relay *relay);
bool relay_is_taken(const struct relay *relay);
/* It is not to be taken any more; true: it was already. The relay may be gone with its owner afterwards. */
bool relay_packet_leave(struct relay *relay);

/* For owners of relays that are going to be closed: 1: it was taken, maybe just now, its sockets are silent,
 * and relay->pair is the caller's; 0: it was not, and will not be. */
int relay_packet_settle(struct relay *relay);
/* The routes may have changed: the ways of a pair that is not taken yet follow. */
void relay_packet_follow(struct relay *relay);
