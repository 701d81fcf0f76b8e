/* packet - pairs of established connections whose packets tc translates (bpf/packet.bpf.c), past the sockets.
 *
 * One object for all workers; pairs may be added and removed by any thread, a pair is one thread's. Rules
 * for the caller, for a TCP pair:
 * - packet_add() early: `seen` counts from then on;
 * - arm only when both send queues are acknowledged (SIOCOUTQ), nothing but @owed waits to be read or
 *   written, and packet_seen() has not changed for 2 ms; the snapshot is what it was then. From arming on
 *   only what was owed may be written, or packet_disarm() comes first;
 * - state TAKEN: the sockets are stale from that packet on. Put both into TCP_REPAIR at once and close or
 *   keep them (they hold the ports); read and write them no more. Nothing leads back. Anything else
 *   changes nothing: no packet is dropped, held or lost by the attempt;
 * - when it is over (packet_ended(), or nothing came for long), packet_remove(). Until then its packets
 *   are translated, whether this process lives or not.
 * A pair whose own packets never show up at tc ingress (NAT, or an interface that tc cannot serve) is not armed.
 * A UDP pair is translated from packet_add() on, but what the client sends only from packet_open() on. It ends by
 * itself when it was quiet for long (packet_spec.quiet_ms): SEAM_CLOSING_KILLED.
 *
 * What cannot be translated, or with UDP is too long for the way out, goes to the stack; but with TCP after the
 * take-over it is dropped: IPv4 options,
 * first fragments, broken TCP options, a TTL of 1 (seam_side.dropped). IPv6 extension headers and later
 * fragments always go to the stack. Unknown TCP options become padding. "Packet too big" (ICMP) is passed on
 * to the host whose packet it was; an interface of this host whose MTU shrinks below what was agreed when the
 * pair was taken is the caller's to notice. A socket bound to an interface is found by its packets only
 * when they arrive there: the other side's packets miss ("socket"). One process at a time uses @pin_dir.
 *
 * Loading takes CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_NET_RAW; later on CAP_NET_ADMIN is enough.
 * Kernel: 6.1 or later with BTF; tcx where it has it (6.6), clsact else.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <netinet/in.h>
#include "kern/interfaces.h"
#include "net/addr.h"
#include "seam/abi.h"

#define PACKET_REASON_MAX 256

struct packet;

extern const char *const packet_state_names[SEAM_PACKET_MISSED + 1];

/* @pin_dir: a folder of a bpffs, made if missing, in which programs, maps and attachments are pinned, so
 * that taken pairs outlive the process; NULL: nothing is. What an earlier process with the same
 * SEAM_ABI_VERSION left there is adopted, with its number of pairs; what one with another left is removed,
 * attachments included; and so is one that has no taken pairs and another number of them. On failure -errno, nothing is held, and @reason of PACKET_REASON_MAX bytes names
 * the step, the cause and what to do. */
int packet_load(struct packet **ret, uint32_t pairs, const char *pin_dir, char *reason);
/* @keep: what is pinned stays, and taken pairs go on (not those that were not taken yet). Otherwise pins
 * and attachments vanish. NULL is fine. */
void packet_free(struct packet *packet, bool keep);
/* Programs and pins vanish, for good; @packet stays, without a pair: there must be none by now. Any thread. */
void packet_detach(struct packet *packet);
bool packet_is_detached(struct packet *packet);
/* Removes folders in @root whose names begin with @prefix, pin_dir of packet_load() elsewhere, that no process
 * has open and whose interfaces are all gone, the namespace with them or not: nothing carries their flows.
 * Needs tcx; what clsact left behind stays. Returns how many. */
unsigned packet_sweep(const char *root, const char *prefix);
/* What packet_load() would adopt or remove is removed, as it is: no RST. */
void packet_unpin(const char *pin_dir);
uint32_t packet_pairs_max(const struct packet *packet);
uint32_t packet_pairs_used(struct packet *packet);

/* The interfaces, now: attachments of those that are gone are forgotten. Attaching itself is done by
 * packet_add(), to those that a pair uses, once. */
void packet_interfaces(struct packet *packet, const struct netif_list *list);
/* -EOPNOTSUPP: not one that tc can serve (loopback, unknown link type), other -errno from attaching.
 * Attached already: 0. */
int packet_attach(struct packet *packet, int interface);

/* One connection of a pair: its packets arrive from @remote for @local, and leave to @remote by @interface
 * and @next_hop (route_ask(), with @mark) with @mark set. @next_hop AF_UNSPEC: the kernel looks it up for each
 * packet, which fails where IPv6 has a better route by another interface. */
struct packet_end {
	struct addr remote, local;
	int interface;
	struct addr next_hop;
	uint32_t mark;
};

struct packet_spec {
	uint8_t protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	uint32_t
		quiet_ms; /* UDP: when nothing came for so long it is over (SEAM_CLOSING_KILLED); 0: never */
	struct packet_end end[2]; /* client's, upstream's; both IPv4 or both IPv6 */
	struct seam_label label;
};

/* Value, copied freely. */
struct packet_pair {
	struct packet *packet; /* NULL: none */
	struct seam_pair *shared;
	uint32_t index;
};

/* Attaches to the interfaces of @spec in the background, for packet_add() waits for it, some 10 ms each: 0, it is
 * done; -EAGAIN: ask again; other -errno: it cannot be, as packet_attach(). Never waits. */
int packet_prepare(struct packet *packet, const struct packet_spec *spec);
/* -ENOSPC: no pair is free. -EEXIST: an end is in another pair. -EAFNOSUPPORT: IPv4 with IPv6.
 * -EOPNOTSUPP: link-local addresses, or packet_attach() said so. */
int packet_add(struct packet *packet, const struct packet_spec *spec, struct packet_pair *ret);
/* A UDP pair whose upstream's packets were translated (packet_stats()), so that no NAT is in their way: now the
 * client's are too. -errno */
int packet_open(const struct packet_pair *pair);
bool packet_is_open(const struct packet_pair *pair); /* also by an earlier process */
/* From now on its packets are the stack's, whose answer is RST where no socket is. The pair is dead; NULL
 * is fine. */
void packet_remove(struct packet_pair *pair);
/* The packets of @side go the way of @end from now on (its addresses do not matter), if they did not. */
int packet_set_way(const struct packet_pair *pair, int side, const struct packet_end *end);
/* Addresses and way of @side, as they are now. */
struct packet_end packet_end_of(const struct packet_pair *pair, int side);
/* What `seamctl flows list` shows of it changed. */
int packet_set_label(const struct packet_pair *pair, const struct seam_label *label);

static inline uint64_t packet_seen(const struct packet_pair *pair)
{
	return __atomic_load_n(&pair->shared->seen, __ATOMIC_ACQUIRE);
}
static inline enum seam_packet_state packet_state(const struct packet_pair *pair)
{
	return (enum seam_packet_state)SEAM_PACKET_STATE(
		__atomic_load_n(&pair->shared->state, __ATOMIC_ACQUIRE));
}
/* Its packets were seen in both directions. */
static inline bool packet_seen_both(const struct packet_pair *pair)
{
	return __atomic_load_n(&pair->shared->from, __ATOMIC_RELAXED) == 3;
}
/* 1 << enum seam_packet_why; valid while MISSED and after packet_disarm(). */
static inline uint32_t packet_why(const struct packet_pair *pair)
{
	return __atomic_load_n(&pair->shared->why, __ATOMIC_RELAXED);
}

/* @fd: both sockets, client's first. @snapshot: see above. @owed: bytes that a side's socket has received,
 * FIN not counted, and that are not in the other's send queue yet. The state must be OFF or MISSED.
 * -EAGAIN: no packets were seen from one side yet, or it moves right now. -errno of the sockets. */
int packet_arm(const struct packet_pair *pair, const int fd[2], uint64_t snapshot,
	       const uint32_t owed[2]);
/* ARMED and MISSED become OFF. The state after: OFF, or TAKEN, which it stays. */
enum seam_packet_state packet_disarm(const struct packet_pair *pair);

struct packet_stats {
	uint64_t packets[2],
		bytes[2];    /* by the side they came from; payload, since the take-over */
	uint64_t last_ns[2]; /* CLOCK_MONOTONIC of the last packet; 0: none */
	uint64_t taken_ns;
	uint32_t dropped[2];
	uint32_t closing; /* SEAM_CLOSING_* */
};
void packet_stats(const struct packet_pair *pair, struct packet_stats *ret);
/* RST was seen, or both FIN were and are acknowledged: remove it once nothing came for a linger time. Do
 * not at once: last acknowledgements may get lost, and a forged RST does not end a connection. */
bool packet_ended(const struct packet_pair *pair);
/* Sends RST to both hosts, with the numbers they expect, and removes the pair: the stack answers what still
 * comes with RST as well, once the sockets are closed. Only a taken TCP pair; else it is only removed.
 * -errno: at least one was not sent, and the pair is removed all the same. */
int packet_kill(struct packet_pair *pair);

/* Every pair in use by index, also those adopted, from @from on: 0 and *@ret, or -ENOENT. @ret_spec may be
 * NULL. For adoption call it before any packet_add(). Next: from ret->index + 1. */
int packet_next(struct packet *packet, uint32_t from, struct packet_pair *ret,
		struct packet_spec *ret_spec);
