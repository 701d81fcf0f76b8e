/* packet - two connections as one: at tc ingress the packets of each are translated into packets of the other
 * and sent on, past the sockets, once a packet has found both sockets with nothing owed (packet_take.h). At tc egress
 * the SYN of one is made to agree to no more than the other has (packet_syn.h).
 *
 * Until then the sockets carry the connections and packets are only counted. User space arms a pair when
 * nothing has come for a while; the next packet takes it over if no other came in between, and everything
 * that the translation needs is read from the sockets at that moment. Otherwise the packet goes to its socket
 * as ever, and user space tries again some time: nothing is dropped, held or lost either way.
 *
 * Packets that are none of ours are left to other programs (TC_ACT_UNSPEC), untouched.
 *
 * A fragment of a taken TCP connection cannot be translated, for only the first has ports. It is dropped here
 * rather than by a socket that knows nothing of it any more. TCP avoids fragments (DF); if they come all the
 * same, the connection hangs as if they were lost, and seam_side.dropped tells. With IPv6 they are not even
 * recognised, no more than other extension headers.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "seam/abi.h"
#include "lib/tcp.h"
#include "lib/packet_maps.h"
#include "lib/packet_frame.h"
#include "lib/packet_take.h"
#include "lib/packet_translate.h"
#include "lib/packet_icmp.h"
#include "lib/packet_syn.h"

#define VLAN_ID 0x0fff

/* A session ends by its timeout whether somebody is there to end it or not: who has its ports next is another. */
static __always_inline void age(struct seam_pair *p, __u64 now)
{
	__u64 client = p->side[0].last, upstream = p->side[1].last;
	__u64 last = client > upstream ? client : upstream;

	if (p->quiet_ms && last && (__s64)(now - last) > p->quiet_ms * 1000000LL)
		__sync_fetch_and_or(&p->closing, SEAM_CLOSING_KILLED);
}

/* A host calls again with the same ports: that connection is the stack's. */
static int is_over(struct seam_pair *p, const struct frame *f)
{
	const __u32 fins = SEAM_CLOSING_ACKED(0) | SEAM_CLOSING_ACKED(1);
	__u32 closing = p->closing;

	if (closing & (SEAM_CLOSING_KILLED | SEAM_CLOSING_REUSED))
		return 1;
	if (!f->old.th.syn || !(closing & SEAM_CLOSING_RST || (closing & fins) == fins))
		return 0;
	__sync_fetch_and_or(&p->closing, SEAM_CLOSING_REUSED);
	return 1;
}

/* Told who is next, the helper looks up no route. Its own lookup is the wrong one where a socket is bound to an
 * interface: that of IPv6 takes a better route by another one (it prefers the interface, and does not insist),
 * and what it finds there is nobody's neighbour here. */
static __always_inline int send_by(struct __sk_buff *skb, struct frame *f)
{
	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return TC_ACT_SHOT;
	/* It takes the place of an Ethernet header for granted. */
	if (!f->l3 && bpf_skb_change_head(skb, ETH_HLEN, 0))
		return TC_ACT_SHOT;
	if (!f->way.next.nh_family)
		return bpf_redirect_neigh(f->way.ifindex, NULL, 0, 0);
	return bpf_redirect_neigh(f->way.ifindex, &f->way.next, sizeof(f->way.next), 0);
}

/* TCP's segments were made to fit (take_over()). */
static __always_inline int is_too_long(struct __sk_buff *skb, const struct frame *f, __u32 ifindex)
{
	__u32 mtu = 0;

	return f->key.protocol == IPPROTO_UDP &&
	       bpf_check_mtu(skb, ifindex, &mtu, 0, BPF_MTU_CHK_SEGS);
}

static __always_inline int send_on(struct __sk_buff *skb, struct frame *f, struct seam_pair *p,
				   __u32 side)
{
	struct seam_side *s = &p->side[side & 1], *o = &p->side[(side & 1) ^ 1];

	if (f->irregular || f->broken || f->ttl <= 1 || is_too_long(skb, f, o->ifindex)) {
		__sync_fetch_and_add(&s->dropped, 1);
		/* Datagrams have a socket that is alive. */
		return f->key.protocol == IPPROTO_UDP ? TC_ACT_UNSPEC : TC_ACT_SHOT;
	}
	__sync_fetch_and_add(&s->packets, 1);
	__sync_fetch_and_add(&s->bytes, f->payload);
	if (f->key.protocol == IPPROTO_TCP) {
		record(f, p, side);
		if (unstring(skb))
			return TC_ACT_SHOT;
	}
	if (seam_translate(skb, f, p, side))
		return TC_ACT_SHOT;
	read_way(o, &f->way);
	return send_by(skb, f);
}

static __noinline int serve_pair(struct __sk_buff *skb, struct frame *f, struct seam_pair *p,
				 __u32 side)
{
	__u32 word = *(volatile __u32 *)&p->state;
	__u64 now = bpf_ktime_get_coarse_ns();

	age(p, now);
	p->side[side & 1].last = now;
	if (f->key.protocol == IPPROTO_TCP)
		f->broken = read_tcp(skb, f) != 0;
	else
		f->payload -= sizeof(struct udphdr);
	if (SEAM_PACKET_STATE(word) == SEAM_PACKET_TAKEN ? is_over(p, f)
							 : !take_over(skb, f, p, side, word))
		return TC_ACT_UNSPEC;
	return send_on(skb, f, p, side);
}

static __always_inline int serve_error(struct __sk_buff *skb, struct frame *f)
{
	int r = is_too_big(skb, f) ? seam_too_big(skb, f) : -1;

	if (r)
		return r < 0 ? TC_ACT_UNSPEC : TC_ACT_SHOT;
	return send_by(skb, f);
}

/* @l3: where the network header is. Frames for other hosts, and of VLANs, which come again on their own
 * interface, are nobody's here; priority tags are all the same. */
static __always_inline int serve(struct __sk_buff *skb, __u32 l3)
{
	struct frame f = { .l3 = l3 };
	struct seam_half *half;
	struct seam_pair *p;
	__u32 index, side;

	if (skb->pkt_type != PACKET_HOST || (skb->vlan_present && skb->vlan_tci & VLAN_ID) ||
	    read_addresses(skb, &f))
		return TC_ACT_UNSPEC;
	if (f.key.protocol == IPPROTO_ICMP || f.key.protocol == IPPROTO_ICMPV6)
		return serve_error(skb, &f);
	half = bpf_map_lookup_elem(&seam_halves, &f.key);
	if (!half)
		return TC_ACT_UNSPEC;
	index = half->pair;
	side = half->side & 1;
	p = bpf_map_lookup_elem(&seam_pairs, &index);
	return p ? serve_pair(skb, &f, p, side) : TC_ACT_UNSPEC;
}

SEC("tc")
int seam_ether(struct __sk_buff *skb)
{
	return serve(skb, ETH_HLEN);
}

/* Of devices without a link header: PPP, tun, WireGuard. */
SEC("tc")
int seam_ip(struct __sk_buff *skb)
{
	return serve(skb, 0);
}

/* At the egress of interfaces that connections are made through. */
SEC("tc")
int seam_syn_ether(struct __sk_buff *skb)
{
	return serve_syn(skb, ETH_HLEN);
}

SEC("tc")
int seam_syn_ip(struct __sk_buff *skb)
{
	return serve_syn(skb, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
