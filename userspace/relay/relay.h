/* relay - moves bytes between two streams until both directions ended.
 *
 * Two pumps, one a direction: direction is data, not code. How the bytes move is the pumps' ops; under
 * `auto` a relay begins with copy, which costs a short flow least, and once it has shown that it lives
 * (enter_after reads) it goes to the sockmap, or, where that is refused, to splice if it moves bulk.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/mem.h"
#include "config/config.h"
#include "kern/gate.h"
#include "net/stream.h"
#include "relay/packet.h"
#include "relay/pipes.h"

#define RELAY_TURN_BYTES (1U << 20) /* a pump moves no more in one turn */
#define RELAY_BULK_BYTES 512000U    /* beyond, a direction gets large buffers */
#define RELAY_SCRATCH    ((size_t)512 << 10)

struct relay;

/* Why `auto` did not pick the sockmap for a relay. */
enum relay_refusal {
	REFUSED_NOT,   /* it did, or it was not yet time */
	REFUSED_UNFIT, /* kernel or self-test: see status */
	REFUSED_SLOTS,
	REFUSED_MEMORY,
	REFUSED_SOCKETS, /* the kernel said no to these two */
	REFUSED_TAINT,   /* the kernel went wrong since the start */
	REFUSED_SPILLS,  /* entered, but the peer was too slow too often */
	REFUSED_MPTCP,   /* its stream is spread over several sockets */
	REFUSED_COUNT,
};
extern const char *const relay_refusal_names[REFUSED_COUNT];

/* What the relays of one worker share. */
struct relay_env {
	struct loop *loop;
	enum relay_method method;
	uint32_t enter_after;
	uint64_t buffer_limit;
	uint32_t first_buffer;    /* sockmap: bytes of a send queue, until it needs more */
	struct mem_budget memory; /* what relays may hold, in user space and in grown queues */
	uint8_t *scratch;         /* RELAY_SCRATCH bytes: what is read is written at once or held */
	struct pipe_pool pipes;
	struct gate_set gates;
	bool gates_open;              /* new relays may enter the sockmap */
	enum relay_refusal gates_why; /* if not */
	struct packet_env packet;
	void (*wake)(struct relay *relay); /* relay_run() is due; set by the owner of the relays */
	uint64_t entered, spilled, broken, refused[REFUSED_COUNT];
};

struct pump;
struct relay_opening;

struct relay_ops {
	const char *name;
	/* Moves what it can. 0: blocked, ended, or had its turn; -errno: broken, see relay_fail(). */
	int (*run)(struct pump *pump);
	/* Whether everything that was read is in the peer's send queue: 1, 0 (ask again: it has seen to
	 * that), -errno. */
	int (*flushed)(struct pump *pump);
};
extern const struct relay_ops relay_copy_ops, relay_splice_ops, relay_sockmap_ops;

struct pump {
	const struct relay_ops *ops;
	struct relay *relay;
	struct stream *from, *to;
	uint64_t bytes; /* moved by user space */
	uint8_t *held;  /* copy, sockmap: what @to would not take; NULL: nothing */
	uint32_t held_at, held_bytes, held_size;
	uint32_t piped;    /* splice: bytes in @pipe */
	struct pipe *pipe; /* splice: NULL unless it holds bytes */
	uint32_t buffers;  /* sockmap: bytes of the budget that the direction took */
	uint32_t spills;   /* sockmap: seen */
	uint32_t clamp;    /* sockmap: the window to give back to @from, 0: it is not narrowed */
	uint8_t polls;     /* sockmap: turns since it was narrowed for the gate to open again */
	int64_t queued;    /* sockmap: at the last look, while narrowed */
	uint64_t resume_bytes; /* sockmap: what user space has moved when it next tries that */
	uint32_t mask;         /* sockmap: what the kernel reports of @from, see loop_io_mask() */
	uint64_t mark_bytes, mark_ms; /* where the rate is measured from */
	uint8_t side;                 /* of @from: also the gate's direction */
	bool eof;                     /* @from has ended */
	bool done;                    /* and @to has been told */
	bool full;                    /* @to said EAGAIN */
	bool waits;                   /* for the poll timer, not for @from */
	bool rests;                   /* copy: reads nothing (packet_stall.c) */
};

struct relay {
	struct relay_env *env;
	struct pump pump[SIDES];       /* [CLIENT]: the upload */
	struct gate *gate;             /* NULL: never entered */
	struct relay_opening *opening; /* owned; NULL: the first bytes are like the others */
	struct timer poll;             /* where no event tells */
	uint32_t poll_ms;
	uint32_t reads;
	enum relay_refusal refused;
	enum relay_untaken untaken;
	uint32_t missed;         /* why the last attempt to have it taken failed, bits; 0: none */
	struct packet_pair pair; /* its packets are counted, or taken already */
	struct taker *taker;     /* owned; NULL: nobody tries to have it taken */
	int8_t failed;           /* side whose socket broke, -1: none */
};

enum relay_status {
	RELAY_MORE,
	RELAY_DONE,
	RELAY_TAKEN, /* by tc: the sockets are silent, and not to be used any more; relay->pair is the owner's */
};

/* The part of one of @workers, who carry @flows at most between them. */
int relay_env_init(struct relay_env *env, const struct config_relay *config, uint32_t workers,
		   uint32_t flows, struct loop *loop, void (*wake)(struct relay *));
void relay_env_deinit(struct relay_env *env);
/* The fast path is there: relays may enter it. */
int relay_env_open_gates(struct relay_env *env, struct fastpath *fastpath, uint16_t worker);

void relay_start(struct relay *relay, struct relay_env *env, struct stream *client,
		 struct stream *upstream);
/* The method that a direction begins with. */
const struct relay_ops *relay_first_ops(const struct relay_env *env);
/* Right after relay_start(): it never enters the sockmap, for this reason. */
void relay_refuse(struct relay *relay, enum relay_refusal why);
/* A turn. RELAY_MORE: waits for its streams or calls env->wake. -errno: broken, relay->failed names the
 * side. @label is for bpftool. */
int relay_run(struct relay *relay, const struct gate_label *label);
/* Drops what it holds; the streams are the caller's to close. Not started is fine. */
void relay_stop(struct relay *relay);
/* After the streams are closed. A pair of packets that is still there is removed. */
void relay_release(struct relay *relay);

const char *relay_method_name(const struct relay *relay);
uint64_t relay_bytes(const struct relay *relay, int side);        /* moved, by anybody */
uint64_t relay_kernel_bytes(const struct relay *relay, int side); /* of these, by the kernel */

/* For the methods. */
int relay_hold(struct pump *pump, const uint8_t *data, uint32_t bytes);
/* 1: nothing is held any more, 0: @to is full, -errno. */
int relay_flush_held(struct pump *pump, uint32_t *ret_sent);
/* It holds bytes that only its peer's socket keeps from going: full, or its turn was over. */
bool relay_wants_out(const struct pump *pump);
/* User space holds nothing, and nothing has ended: what comes next can go another way. */
bool relay_is_empty_handed(const struct relay *relay);
/* This pump waits for the timer: nothing else tells. */
void relay_poll_later(struct pump *pump);
/* A turn at some later time, besides those for events. */
void relay_poll(struct relay *relay);
void relay_poll_anew(struct relay *relay); /* from the shortest delay on */
/* Notes whose socket broke; returns @err. */
int relay_fail(struct pump *pump, const struct stream *stream, int err);
int relay_sockmap_enter(struct relay *relay, const struct gate_label *label);
int relay_sockmap_listen(struct relay *relay); /* to no more than it has to */
void relay_sockmap_event(struct gate *gate, int side, enum seam_event_kind kind);
