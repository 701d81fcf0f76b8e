/* dial - turns a target into a connected socket, through any chain of dialers.
 *
 *   race (names, RFC 8305) -> interfaces (network strategy) -> direct (one connect) | another outbound
 *
 * A dialer is immutable and shared by all flows of a configuration; a dial is one attempt. Layers
 * disappear when they are done: what comes out is a plain socket, because the kernel moves the bytes after.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "config/config.h"
#include "dial/trace.h"
#include "kern/packet_syn.h"
#include "loop/loop.h"
#include "net/addr.h"
#include "proto/handshake.h"

struct resolver;
struct netif_list;
struct netif;
struct route_socket;

/* What dials use of the thread they run on; one a worker. */
struct dial_env {
	struct loop *loop;
	struct resolver *resolver;
	struct netif_list *interfaces; /* as of now */
	struct route_socket *routes;
	struct packet *packet; /* connections are made for it as their client's are; NULL: not */
};

struct target {
	struct addr addr;            /* AF_UNSPEC: @domain at addr.port */
	const char *domain;          /* lives as long as the dial; NULL: @addr */
	const struct addr *resolved; /* of @domain, also as long; NULL: not known yet */
	size_t resolved_count;
};

/* What a tunnel still owes: bytes that leave before the client's first, best in one write with them, and an
 * answer that comes before the server's first. Freed by dial_owed_free(). */
struct dial_owed {
	uint8_t header[HANDSHAKE_OUT_MAX];
	size_t header_len;
	const struct handshake_ops
		*ops; /* whose answer() is still to come with @state; NULL: no answer */
	void *state;  /* owned */
};
void dial_owed_free(struct dial_owed *owed); /* NULL is fine */

/* What a dial came to. */
struct dial_result {
	int err;          /* 0 or -errno; -ETIMEDOUT after connect_timeout as well */
	const char *call; /* what failed, "connect" or the option that was refused; NULL if none */
	struct loop_io *io; /* connected, registered and the receiver's to move; NULL if failed */
	struct dial_owed *owed; /* the receiver's; NULL: nothing */
	struct addr
		peer; /* of @io: address of the dial's target; AF_UNSPEC: only a proxy knows it */
	bool owes_write; /* not connected before the first write: the SYN leaves with it (TFO) */
	struct packet_way *packet; /* of SOCK_DGRAM, instead of @io and @owed; the receiver's */
};

struct dial;
struct dial_request;
struct packet_way;
struct strategy;
typedef void dial_done_fn(void *owner, const struct dial_result *result);

struct dialer {
	const struct dialer_ops *ops;
};

struct dialer_ops {
	const char *name;
	size_t dial_size; /* of an attempt's state, struct dial first */
	/* 0; or -errno, nothing is held, and dial->call says what failed. */
	int (*start)(struct dial *dial);
	/* Drops whatever start() took; with @reset by RST, for a connection that may just have been made. */
	void (*cancel)(struct dial *dial, bool reset);
	/* The dialer below if this one has nothing to do for @request, else itself. NULL: always itself. */
	const struct dialer *(*skip)(const struct dialer *self, const struct dial_request *request);
	void (*free)(struct dialer *self);
};

struct dial_request {
	struct dial_env *env;
	int type;       /* SOCK_DGRAM: a way for datagrams (dial/packet.h); else SOCK_STREAM */
	bool one_peer;  /* SOCK_DGRAM: only to @target and from it (a connected socket) */
	bool no_trains; /* SOCK_DGRAM: they are received one by one, each has a header of its own */
	struct target target;
	struct addr source; /* the client's, for transparent_source; AF_UNSPEC: none */
	struct addr
		original; /* where it wanted to go, for the PROXY protocol; AF_UNSPEC: not known */
	struct syn_limits syn; /* what the client's connection lacks (dial/match.h) */
	/* Leave by it; NULL: by the dialer's own or by the routes. Not kept. */
	const struct netif *interface;
	bool unbound; /* the routes lead to @interface by themselves: it is for the trace only */
	const struct strategy *strategy; /* instead of the outbound's; NULL: its own */
	const uint32_t *
		fallback_delay_ms; /* instead of the outbound's; NULL: its own; lives as long as the dial */
	struct trace *trace; /* what was tried; NULL: nobody asks */
	dial_done_fn *done;
	void *owner; /* for @done */
};

struct dial {
	const struct dialer *dialer;
	struct dial_request request;
	const char *call;
};

/* @done runs exactly once, never inside dial_start() and never after dial_cancel(); *@ret is dead when it
 * runs. On -errno nothing was started and *@ret_call names what was refused. */
int dial_start(struct dial **ret, const struct dialer *dialer, const struct dial_request *request,
	       const char **ret_call);
void dial_cancel(struct dial *dial, bool reset); /* NULL is fine */

/* For dialers: ends the attempt with @result. Its io is moved from by the receiver, and closed if not. */
void dial_finish(struct dial *dial, const struct dial_result *result);
