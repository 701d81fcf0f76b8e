/* gate - user space's half of the gate (bpf/sockmap.bpf.c): pairs enter the sockmap, and each direction
 * moves between the kernel and user space without losing its place.
 *
 * Rules for the caller, per direction, beside the invariant of the verdict:
 * - insert when user space holds nothing of the flow;
 * - after inserting, and whenever woken, gate_recv() to -EAGAIN: it also runs the verdict over what was
 *   queued;
 * - write what gate_recv() gave only while gate_drained(), and report it with gate_wrote();
 * - gate_recv() == 0 is the end; shut the peer down once gate_drained();
 * - a pair leaves the map by close() of both sockets, and gate_remove() comes after that.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "kern/fastpath.h"
#include "loop/loop.h"
#include "net/addr.h"

struct gate;

/* Something happened to a direction while nobody listened to its socket. @gate is in the set. */
typedef void gate_event_fn(struct gate *gate, int side, enum seam_event_kind kind);

/* One worker's share of the slots, and its ring of events. */
struct gate_set {
	struct fastpath *fastpath;
	uint16_t worker;
	uint32_t first, count, used; /* pairs */
	struct gate *gates;          /* count of them, untouched until first used */
	uint32_t fresh;              /* gates from here on were never used */
	struct list free;
	struct ring_buffer *ring;
	struct loop_io io;
	struct timer lost_timer;
	uint64_t lost_seen;
	gate_event_fn *on_event;
};

struct gate {
	struct list link;     /* only while free */
	struct gate_set *set; /* NULL: free */
	void *owner;
	int fd[2];
	uint64_t cookie[2];
	uint64_t enqueued_base[2]; /* bytes in the send queue of a side before it was inserted */
	uint64_t sent[2];          /* into that queue by user space, since */
	uint64_t received[2];      /* by user space, since */
	uint64_t local_id;         /* in the maps for local clients; 0: not there */
	uint64_t local_bytes;      /* that the client sent straight, as far as seen */
	bool local_ended;          /* no more of them will come */
};

int gate_set_init(struct gate_set *set, struct fastpath *fastpath, uint16_t worker,
		  struct loop *loop, gate_event_fn *on_event);
void gate_set_deinit(struct gate_set *set); /* every gate is removed; not initialised is fine */

/* What seam_flows shows of a pair. */
struct gate_label {
	uint64_t id;
	struct addr source, destination;
};

/* Puts both sockets, indexed client first, into the map. The gate starts shut.
 * -ENOSPC: no slot. -EAGAIN: a send queue would not hold still, or a client on this host is just using its
 * socket: try again later. Any other: the kernel refuses these sockets (-EOPNOTSUPP: one is not ESTABLISHED,
 * or has a ULP). After an error neither is in the map. A pair of which only the second socket was refused
 * counts as inserted, since taking the first one out could lose bytes, and stays in user space for good. */
int gate_insert(struct gate_set *set, const int fd[2], const struct gate_label *label, void *owner,
		struct gate **ret);
/* After close() of both sockets. */
void gate_remove(struct gate *gate);

/* @side: the direction of the bytes that this side's socket receives. */
struct seam_dir *gate_dir(const struct gate *gate, int side);
enum seam_gate gate_state(const struct gate *gate, int side);
/* Bytes of this direction that the kernel moved, ever. Both sockets are open. */
uint64_t gate_kernel_bytes(struct gate *gate, int side);
/* Nothing is left to user space at the moment: its socket need not be listened to. */
bool gate_carries(const struct gate *gate, int side);
/* As recv() with MSG_DONTWAIT, but -errno; 0 only when every byte has come through. */
ssize_t gate_recv(struct gate *gate, int side, void *data, size_t size);
/* Passed bytes that gate_recv() has not given yet. */
uint64_t gate_unread(const struct gate *gate, int side);
/* Bytes of this direction that the peer's host has not acknowledged yet; -errno. */
int64_t gate_queued(const struct gate *gate, int side);
/* 1: every redirected byte is in the peer's send queue; 0: not yet, and no event will tell; -errno. */
int gate_drained(struct gate *gate, int side);
/* @bytes that recv() gave are in the peer's send queue now. */
void gate_wrote(struct gate *gate, int side, uint32_t bytes);
/* From the next segment on user space carries this direction, for good. */
void gate_hold(struct gate *gate, int side);
/* The pressure is over; the next one is told again. */
void gate_relieve(struct gate *gate, int side);
/* SEAM_EVENT_GROW once, when so many bytes were redirected. */
void gate_grow_at(struct gate *gate, int side, uint64_t bytes);
