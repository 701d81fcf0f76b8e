/* selftest_pair - a relay between two loopback connections whose other ends are ours too: client's end,
 * client's side, upstream's side, server's end. One thread drives all of it by turns, and every received
 * byte is compared with the pattern that was sent. For the self-test and for unit tests; names begin with
 * pair_, since selftest_pair_ would fill the lines.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "relay/relay.h"

#define PAIR_WHY_MAX 160

/* What pairs share. */
struct pair_rig {
	struct loop loop;
	struct relay_env env;
	int listener;
	struct addr address; /* of the listener */
	uint8_t *pattern;
	uint8_t *received; /* a read's worth */
	uint64_t deadline_ms;
	uint64_t last_id;       /* of a pair; counts down, flows count up */
	char why[PAIR_WHY_MAX]; /* the first thing that went wrong */
};

/* -errno, with the step in *@ret_step; -ETIMEDOUT: loopback is dead. @fastpath NULL: without the sockmap.
 * Everything is to be over in @limit_ms. */
int pair_rig_init(struct pair_rig *rig, enum relay_method method, struct fastpath *fastpath,
		  uint32_t limit_ms, const char **ret_step);
/* Every pair is closed. After a failure, or twice, is fine. */
void pair_rig_deinit(struct pair_rig *rig);
/* With every pair closed: what the relays took is given back, or it fails. */
int pair_rig_check(struct pair_rig *rig);
/* Fills rig->why unless something is in it. Always -EIO. */
__attribute__((format(printf, 2, 3))) int pair_fail(struct pair_rig *rig, const char *format, ...);

/* The bytes from one end to the other. */
struct pair_way {
	uint64_t total; /* to be sent, ever */
	uint64_t sent, received;
	uint32_t chunk;  /* bytes a send(), 0: as many as go */
	bool fin;        /* a FIN after the last */
	bool fin_joined; /* the last byte and the FIN share a segment */
	bool stalled;    /* the receiver does not read */
	bool fin_sent, fin_received;
	int send_error, receive_error; /* -errno that an end was told */
};

struct pair {
	struct pair_rig *rig;
	struct stream end[SIDES];   /* the client's and the server's */
	struct stream side[SIDES];  /* the relay's */
	struct pair_way way[SIDES]; /* [CLIENT]: from the client's end to the server's */
	struct relay relay;
	struct gate_label label;
	bool started;
	int result; /* of the last relay_run(); not RELAY_MORE: the relay is gone */
	uint64_t relayed[SIDES], in_kernel[SIDES]; /* bytes, when it ended */
	uint64_t by_hand[SIDES];                   /* bytes that a case moved past the relay */
	const char *method;
};

void pair_init(struct pair *pair, struct pair_rig *rig);
/* @buffer: SO_SNDBUF and SO_RCVBUF of all four sockets, 0: the kernel's choice. -EIO with rig->why. */
int pair_open(struct pair *pair, int buffer);
void pair_start(struct pair *pair);
/* Both, with the kernel's choice. */
int pair_begin(struct pair *pair);
void pair_close(struct pair *pair); /* any state after pair_init(), twice is fine */
uint64_t pair_kernel_bytes(const struct pair *pair, int side); /* also after the end */
/* A read's worth, PAIR_PATTERN_BYTES, of what a way carries from @offset on. */
const uint8_t *pair_pattern(const struct pair_rig *rig, int side, uint64_t offset);
#define PAIR_PATTERN_BYTES 65521U /* prime: no segment, buffer or page size divides it */

/* The ends send and receive what they can, and the loop runs once. -EIO: a wrong byte, or no time left. */
int pair_turn(struct pair *pair);
/* Turns until every way is done. An error that an end is told is a failure. */
int pair_exchange(struct pair *pair);
/* So many bytes more. */
int pair_send(struct pair *pair, int side, uint32_t bytes);
/* The stalled reader of a way goes on: everything arrives, and of @bytes more the kernel moves some. */
int pair_go_on(struct pair *pair, int side, uint32_t bytes);
int pair_send_both(struct pair *pair, uint32_t bytes);
/* Turns until the sender has got rid of nothing more for @quiet_ms. */
int pair_block(struct pair *pair, int side, uint64_t quiet_ms);
/* FIN both ways, then the relay ends by itself and has counted every byte. */
int pair_finish(struct pair *pair);
/* That the kernel has carried some of it; and both ways, and then pair_finish(). */
int pair_check_kernel(struct pair *pair, int side);
int pair_end_well(struct pair *pair);
/* Closes an end; with @reset by RST. */
void pair_end_close(struct pair *pair, int side, bool reset);
/* Puts a socket in place of an end that continues the connection @back bytes earlier, so that what it sends
 * next overlaps what was received. Everything sent is acknowledged. -EPERM without CAP_NET_ADMIN. */
int pair_end_rewind(struct pair *pair, int side, uint32_t back);
