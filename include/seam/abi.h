/* abi - what the BPF programs and user space share: map keys, map values, events.
 *
 * Fixed-width members only; every size is asserted. A change of layout changes SEAM_ABI_VERSION.
 */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>

#define SEAM_ABI_VERSION 2
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

/* The packet method (packet.bpf.c): two connections whose packets are translated at tc ingress. Sides are
 * 0, the client's, and 1, the upstream's; what belongs to a side is of the packets that arrive from its host. */
enum seam_packet_state {
	SEAM_PACKET_OFF,    /* packets are counted in `seen` and go to the sockets */
	SEAM_PACKET_ARMED,  /* the next packet takes the pair over, or makes it MISSED */
	SEAM_PACKET_TAKEN,  /* packets are translated; nothing leads back */
	SEAM_PACKET_MISSED, /* as OFF; `why` tells the reason */
};

#define SEAM_PACKET_STATE(word) ((word)&3U) /* enum seam_packet_state */
#define SEAM_PACKET_ARMING      4U

/* Why a pair was not taken: bits. The sockets and the packet are looked at when it is armed. */
enum seam_packet_why {
	SEAM_WHY_MOVED,     /* packets came since the snapshot */
	SEAM_WHY_FLAGS,     /* SYN, FIN, RST or URG, or no ACK */
	SEAM_WHY_SOCKET,    /* no such socket in this namespace, for a packet of this interface */
	SEAM_WHY_STATE,     /* one is not ESTABLISHED */
	SEAM_WHY_UNACKED,   /* a host has not acknowledged all */
	SEAM_WHY_ORDER,     /* not the next segment, or some are waiting for a lost one */
	SEAM_WHY_OWED,      /* user space has still bytes to relay, or relayed others */
	SEAM_WHY_MSS,       /* what one host may send does not fit the other's way */
	SEAM_WHY_TIMESTAMP, /* one connection has them, the other has not, or in another unit */
	SEAM_WHY_SACK,      /* one connection has it, the other has not */
	SEAM_WHY_ECN,       /* AccECN */
	SEAM_WHY_OPTION,    /* a TCP option that cannot be translated, or malformed ones */
	SEAM_WHY_IP,        /* IP options, extension headers, fragments, or a TTL of 1 */
	SEAM_WHY_LAYER,     /* MPTCP, TLS in the kernel or another protocol on the socket */
	SEAM_WHY_COUNT
};

/* `closing`, bits. FIN and RST only count in the receiver's window. */
#define SEAM_CLOSING_FIN(side)   (1U << (side))       /* seen from this side */
#define SEAM_CLOSING_ACKED(side) (1U << (2 + (side))) /* and acknowledged by the other */
#define SEAM_CLOSING_RST         (1U << 4)            /* seen, from either side */
#define SEAM_CLOSING_KILLED      (1U << 5) /* by user space, or too quiet: its packets go to the stack */
#define SEAM_CLOSING_REUSED      (1U << 6) /* SYN after the end: the same */

/* `ecn`, bits; none unless one connection has ECN (RFC 3168) and the other has not. */
#define SEAM_ECN_ONLY(side)      (1U << (side))       /* this side's has it */
#define SEAM_ECN_ECHO(side)      (1U << (2 + (side))) /* CE came from this side, and no CWR since */

/* The addresses of a packet as it arrives; key of seam_halves. Network byte order, IPv4 in the first four
 * bytes and zeros behind. */
struct seam_tuple {
	__u8 saddr[16], daddr[16];
	__u16 sport, dport;
	__u8 protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	__u8 family;   /* AF_INET, AF_INET6 */
	__u16 pad;
};

struct seam_half {
	__u32 pair; /* index of seam_pairs */
	__u32 side;
};

struct seam_side {
	/* written for each packet */
	__u64 packets, bytes; /* of payload, translated */
	__u64 last; /* CLOCK_MONOTONIC, ns: of the last packet, also before the take-over */
	__u32 end; /* of the highest segment: sequence number of what follows, as the host counts */
	__u32 ack; /* highest acknowledgement, as the host counts */
	__u32 window;  /* the largest that the host announced, in bytes */
	__u32 fin;     /* one past the FIN, once SEAM_CLOSING_FIN */
	__u32 dropped; /* taken, but not translatable: IP options, fragments, bad options, TTL 1 */

	/* user space, at any time: who packets to this side's host are handed to on the link */
	__u32 next_family; /* AF_INET, AF_INET6; 0: the kernel looks it up for each packet */
	__u32 next_hop[4]; /* network byte order, IPv4 in the first */

	/* user space, when the pair is made; ifindex and mark also later */
	struct seam_tuple in;
	__u32 ifindex; /* the way out to this side's host */
	__u32 mark;    /* of packets that are sent there */

	/* the take-over: what is added to numbers of this side's packets */
	__u32 seq_add, ack_add, ts_add, ecr_add;
};

/* Value of seam_pairs, which user space maps. */
struct seam_pair {
	__u32 state;    /* SEAM_PACKET_STATE, above it a count of armings; atomic */
	__u32 closing;  /* atomic */
	__u64 seen;     /* packets while not taken; atomic */
	__u64 snapshot; /* user space, before ARMED: `seen` when all was quiet */
	__u32 balance
		[2]; /* user space, before ARMED: bytes put into the other socket minus received, when
			   * none is owed any more; what they are counted from is a constant of the pair */
	__u32 why;   /* 1 << enum seam_packet_why, with MISSED */
	__u32 from; /* 1 << side: packets were seen from it; atomic */
	__u32 used; /* user space: the pair is somebody's */
	__s8 shift
		[2]; /* what the window field of a side's packets is shifted by, left if positive */
	__u8 scale[2];  /* window scale of a side's packets */
	__u64 taken_at; /* CLOCK_MONOTONIC, ns */
	__u32 quiet_ms; /* UDP: when nothing came for so long it is over; 0: never */
	__u32 ecn;      /* SEAM_ECN_*; atomic */
	struct seam_side side[2];
};

/* The upstream's socket of a UDP pair. */
#define SEAM_UDP_CONNECTED   1U
#define SEAM_UDP_TRANSPARENT 2U
#define SEAM_UDP_FRAGMENT    4U /* its datagrams have no DF */
#define SEAM_UDP_ANY         8U /* bound to a port, and to no address */

/* Value of seam_labels, keyed as seam_pairs: for people, and for the next daemon. */
struct seam_label {
	__u64 id;         /* as in seamctl flows list */
	__u64 started_ms; /* since the epoch */
	__u64 bytes[2];   /* moved before the take-over; UDP: by the sockets, some seconds ago */
	__s32 rule;       /* index of the rule that decided, -1: none */
	__u32 interface;  /* that the upstream's socket is bound to, 0: none */

	/* UDP */
	__u64 datagrams[2];
	__u32 workers;     /* that the senders were shared among */
	__u32 socket;      /* SEAM_UDP_* */
	char outbound[40]; /* tag; NUL-terminated like the next */
	char inbound[24];
	char host[104]; /* domain, as sniffed; "" when unknown */
};

/* Value of seam_offers, which belongs to a socket that is not connected yet: what its SYN must not offer. */
struct seam_offer {
	__u16 mss; /* the most that it may announce; 0: anything */
	__u8 no_timestamps, no_sack;
	__u32 told; /* the program: MSS of the SYN that has left; 0: none has, where the program sees it */
};

#ifndef __cplusplus
_Static_assert(sizeof(struct seam_dir) == 128, "two cache lines");
_Static_assert(sizeof(struct seam_flow) == 56, "no padding");
_Static_assert(sizeof(struct seam_event) == 8, "no padding");
_Static_assert(sizeof(struct seam_enrol) == 112, "no padding");
_Static_assert(sizeof(struct seam_local) == 24, "no padding");
_Static_assert(sizeof(struct seam_tuple) == 40, "no padding");
_Static_assert(sizeof(struct seam_half) == 8, "no padding");
_Static_assert(sizeof(struct seam_side) == 128, "two cache lines");
_Static_assert(sizeof(struct seam_pair) == 320, "five cache lines");
_Static_assert(sizeof(struct seam_label) == 232, "no padding");
_Static_assert(sizeof(struct seam_offer) == 8, "no padding");
#endif
