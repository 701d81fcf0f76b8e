/* sockmap - the gate: an sk_skb verdict that moves what one socket of a pair receives into the other's
 * send queue, and gives the direction back to user space when the other is slow.
 *
 * Invariant, per direction: a byte is redirected only if every earlier byte is in the peer's send queue
 * or on its way there through the same kernel queue, and user space writes a passed byte only after every
 * redirected one is in the send queue. The first half is kept here, the second in userspace/kern/gate.c.
 *
 * What the peer's send queue (SO_SNDBUF) has no room for is passed: it waits in the receive queue, where
 * the window counts it. So nothing ever waits for long in the redirect worker's queue, which nobody counts
 * and which bytes passed by the peer's own socket would have to wait behind.
 *
 * The verdicts of one socket are serialised by its lock, so plain stores are enough.
 *
 * A dropped byte is lost for good, because it is acknowledged already. SK_DROP is returned only for
 * bytes that the pair has seen before, and when the pair is beyond saving (SEAM_GATE_BROKEN).
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "seam/abi.h"
#include "lib/maps.h"
#include "lib/tcp.h"

#define TRIM_STEP 0xfffU /* bpf_skb_adjust_room() takes away no more at once */
#define TRIM_STEPS \
	160 /* 640 KiB: segments that TCP coalesced in the receive queue are that large */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64); /* socket cookie */
	__type(value, struct seam_flow);
} seam_flows SEC(".maps");

struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SEAM_WORKERS_MAX);
	__type(key, __u32); /* worker */
	__array(values, struct ring);
} seam_events SEC(".maps");

__u64 seam_events_lost = 0; /* a ring was full: user space looks at every slot then */

static void tell(const struct seam_dir *d, __u32 slot, __u32 kind)
{
	struct seam_event event = { .slot = slot, .kind = kind };
	__u32 worker = d->worker;
	void *ring = bpf_map_lookup_elem(&seam_events, &worker);

	if (!ring || bpf_ringbuf_output(ring, &event, sizeof(event), 0))
		__sync_fetch_and_add(&seam_events_lost, 1);
}

struct queue {
	__u32 write_seq, sndbuf, used;
};

/* The send queue of the socket in @slot: 0, or -1 when there is none. */
static int look_at(__u32 slot, struct queue *ret)
{
	struct bpf_sock *sk = bpf_map_lookup_elem(&seam_socks, &slot);
	struct tcp_sock *tp;

	if (!sk)
		return -1;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp) {
		ret->write_seq = tp->write_seq;
		ret->sndbuf = tp->inet_conn.icsk_inet.sk.sk_sndbuf;
		ret->used = tp->inet_conn.icsk_inet.sk.sk_wmem_queued;
	}
	bpf_sk_release(sk);
	return tp ? 0 : -1;
}

/* The segment may begin with bytes that were received before, by a retransmission, or that user space has
 * read before the pair was inserted. recv() would skip them, but the verdict is given the whole segment
 * (tcp_read_skb(), 6.0 to 6.18 at least): cut them off here. The sequence number is the first word of the
 * control block. 0: nothing new in it; -1: it cannot be cut. */
static int trim(struct __sk_buff *skb, struct seam_dir *d)
{
	__u32 seq = skb->cb[0], len = skb->len, seen;

	if (d->gate == SEAM_GATE_NEW) {
		struct bpf_sock *sk = skb->sk;
		struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

		d->next_seq = tp ? tp->copied_seq : seq;
		d->gate = SEAM_GATE_SHUT;
	}
	seen = d->next_seq - seq;
	if ((__s32)seen <= 0) {
		d->next_seq = seq + len;
		return 1;
	}
	if (seen >= len)
		return 0;
	d->next_seq = seq + len;
	for (int i = 0; i < TRIM_STEPS && seen; i++) {
		__u32 step = seen > TRIM_STEP ? TRIM_STEP : seen;

		if (bpf_skb_adjust_room(skb, -(__s32)step, 0, 0))
			return -1;
		seen -= step;
	}
	return seen ? -1 : 1;
}

static int broken(struct seam_dir *d, __u32 me)
{
	if (d->gate != SEAM_GATE_BROKEN) {
		d->gate = SEAM_GATE_BROKEN;
		tell(d, me, SEAM_EVENT_BROKEN);
	}
	return SK_DROP;
}

static int pass(struct __sk_buff *skb, struct seam_dir *d, __u32 me)
{
	d->passed += skb->len;
	return d->passed - d->written > SEAM_PASSED_MAX ? broken(d, me) : SK_PASS;
}

static int redirect(struct __sk_buff *skb, struct seam_dir *d, __u32 me)
{
	d->redirected += skb->len;
	if (d->redirected >= d->grow_at) {
		d->grow_at = ~0ULL;
		tell(d, me, SEAM_EVENT_GROW);
	}
	return bpf_sk_redirect_map(skb, &seam_socks, SEAM_PEER(me), 0);
}

/* Bytes for which the queue has room, beside those on their way to it, which may take a quarter more. */
static __u32 room_in(const struct queue *queue, const struct seam_dir *d)
{
	__u32 coming = (__u32)d->redirected - (queue->write_seq - d->base);
	__u32 used = queue->used + coming + coming / 4;

	return used < queue->sndbuf ? queue->sndbuf - used : 0;
}

static int try_open(struct __sk_buff *skb, struct seam_dir *d, __u32 me)
{
	struct queue queue;

	if (d->hold || d->passed != d->written || look_at(SEAM_PEER(me), &queue))
		return 0;
	d->base = queue.write_seq - (__u32)d->redirected;
	if (room_in(&queue, d) < skb->len)
		return 0;
	d->credit = 0;
	d->gate = SEAM_GATE_OPEN;
	return 1;
}

/* The gate is open. The peer's queue is looked at each time an eighth of its room is used up. */
static int go_on(struct __sk_buff *skb, struct seam_dir *d, __u32 me)
{
	__u32 len = skb->len, room;
	struct queue queue;

	if (d->credit >= len) {
		d->credit -= len;
		return redirect(skb, d, me);
	}
	if (look_at(SEAM_PEER(me), &queue))
		return broken(d, me);
	room = room_in(&queue, d);
	if (room < queue.sndbuf / 2 && !d->pressed) {
		d->pressed = 1;
		tell(d, me, SEAM_EVENT_PRESSURE);
	}
	if (room < len) {
		d->gate = SEAM_GATE_SPILLED;
		d->spills++;
		tell(d, me, SEAM_EVENT_SPILL);
		return pass(skb, d, me);
	}
	d->credit = room / 8;
	return redirect(skb, d, me);
}

static int decide(struct __sk_buff *skb, struct seam_dir *d, __u32 me)
{
	int news;

	if (d->gate == SEAM_GATE_BROKEN)
		return SK_DROP;
	news = trim(skb, d);
	if (news <= 0)
		return news ? broken(d, me) : SK_DROP;
	if (d->gate == SEAM_GATE_OPEN)
		return go_on(skb, d, me);
	if (d->gate == SEAM_GATE_LOCAL || !try_open(skb, d, me))
		return pass(skb, d, me);
	return redirect(skb, d, me);
}

SEC("sk_skb/stream_verdict")
int seam_verdict(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct seam_flow *flow;
	struct seam_dir *d;
	__u32 me;

	if (!skb->len) /* a bare FIN; redirected it would break the peer (EPIPE) */
		return SK_DROP;
	flow = bpf_map_lookup_elem(&seam_flows, &cookie);
	if (!flow)
		return SK_PASS;
	me = flow->slot;
	d = bpf_map_lookup_elem(&seam_dirs, &me);
	return d ? decide(skb, d, me) : SK_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
