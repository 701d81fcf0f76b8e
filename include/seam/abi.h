/* abi - what the BPF programs and user space share: map keys, map values, events.
 *
 * Fixed-width members only; every size is asserted. A change of layout changes SEAM_ABI_VERSION.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>

#define SEAM_ABI_VERSION 1
#define SEAM_WORKERS_MAX 256

/* A pair of sockets owns two neighbouring slots of seam_socks and seam_dirs: even for the client's
 * socket, odd for the upstream's. The direction of a slot is that of the bytes its socket receives. */
#define SEAM_PEER(slot)  ((slot) ^ 1)

enum seam_gate {
	SEAM_GATE_NEW,     /* nothing was received since the pair was inserted */
	SEAM_GATE_SHUT,    /* received bytes are passed to user space */
	SEAM_GATE_OPEN,    /* received bytes are redirected to the peer's send queue */
	SEAM_GATE_SPILLED, /* shut again: the peer's send queue is full */
	SEAM_GATE_LOCAL, /* the client is on this host: its sends go to the peer directly (local.bpf.c) */
	SEAM_GATE_BROKEN, /* bytes were lost: user space has to reset the pair */
};

/* One direction; value of seam_dirs, which user space maps. What the verdict writes and what user space
 * writes are a cache line each; only grow_at and pressed are written by both. */
struct seam_dir {
	__u64 redirected; /* bytes moved in the kernel */
	__u64 passed;     /* bytes left to user space */
	__u32 base;       /* peer's write_seq that stands for redirected == 0 */
	__u32 credit;   /* bytes that may be redirected before the peer's send queue is looked at */
	__u32 next_seq; /* sequence number of the next byte to come */
	__u32 gate;     /* enum seam_gate */
	__u32 spills;
	__u32 pad1[7];

	__u64 written; /* passed bytes that are in the peer's send queue */
	__u64 grow_at; /* SEAM_EVENT_GROW once when redirected reaches it; the verdict makes it ~0 */
	__u32 drained; /* the spill after which everything redirected was sent */
	__u32 hold;    /* 1 keeps the gate shut */
	__u32 worker;  /* whose event ring */
	__u32 pressed; /* the verdict has told of the pressure; user space clears it when it is over */
	__u32 pad2[8];
};

/* Value of seam_flows, keyed by socket cookie: the verdict finds its slot here, people read the rest
 * with bpftool. Addresses in network byte order, IPv4 in the first four bytes; ports in host order. */
struct seam_flow {
	__u64 id; /* as in seamctl flows list */
	__u32 slot;
	__u16 family;
	__u16 remote_port; /* of the host whose bytes this socket receives */
	__u16 local_port;
	__u16 worker;
	__u32 pad;
	__u8 remote[16];
	__u8 local[16];
};

enum seam_event_kind {
	SEAM_EVENT_SPILL = 1, /* the gate was shut */
	SEAM_EVENT_GROW,      /* grow_at was reached */
	SEAM_EVENT_PRESSURE,  /* the peer's send queue is half full */
	SEAM_EVENT_BROKEN,    /* the gate broke */
};

struct seam_event {
	__u32 slot;
	__u32 kind;
};

/* So many passed bytes that nobody writes: no receive window counts them, something is stuck for good. */
#define SEAM_PASSED_MAX (256U << 20)

/* What user space asks of seam_enrol, as a packet. The tuples are those of a segment that the socket
 * receives, in network byte order. */
struct seam_enrol {
	__u8 ether[16]; /* a packet has a link header */
	__u64 id;       /* of the flow: its upstream socket is in seam_uplinks */
	__u32 slot;     /* of the accepted socket */
	__u32 start; /* answer: sequence number of the next byte that the accepted socket reads */
	__u32 is_v6;
	struct bpf_sock_tuple client, accepted;
	__u32 pad;
};

/* What the kernel keeps with a client's socket (seam_locals). */
struct seam_local {
	__u64 id;
	__u64 uplink; /* address of the upstream's struct sock, which may be gone */
	__u32 slot;
	__u32 start; /* sequence number that stands for written == 0 */
};

#ifndef __cplusplus
_Static_assert(sizeof(struct seam_dir) == 128, "two cache lines");
_Static_assert(sizeof(struct seam_flow) == 56, "no padding");
_Static_assert(sizeof(struct seam_event) == 8, "no padding");
_Static_assert(sizeof(struct seam_enrol) == 112, "no padding");
_Static_assert(sizeof(struct seam_local) == 24, "no padding");
#endif
