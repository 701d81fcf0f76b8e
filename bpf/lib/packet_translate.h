/* packet_translate - a packet of one connection of a pair becomes one of the other. */
#pragma once

#define IP_TTL_AT    8 /* with the protocol behind it */
#define IP_CHECK_AT  10
#define IP_ADDRS_AT  12
#define IP6_HOPS_AT  7
#define IP6_ADDRS_AT 8
#define TCP_CHECK_AT 16
#define UDP_CHECK_AT 6
#define SLACK        65536U     /* by which numbers may be off and still mean something */
#define ACK_SLACK    (1U << 24) /* one segment may be held up on a CPU while others bring newer ones */

/* What the RST and the FIN of an outsider must guess: numbers near what the other host expects. */
static int plausible(const struct frame *f, const struct seam_side *s, const struct seam_side *o)
{
	__u32 expected = o->ack + o->ack_add, room = o->window + SLACK;

	return f->seq - expected + room <= 2 * room &&
	       (__s32)(f->ack - (o->end + o->seq_add)) <= 0 &&
	       (__s32)(f->ack - s->ack) >= -(__s32)ACK_SLACK;
}

/* As the receiver does who shares ECN with this side (RFC 3168, 6.1.3). Its other answer, to drop what is marked (RFC
 * 6040), would be a heavy one: segments that were marked alike may be one packet here (GRO). */
static void note_congestion(const struct frame *f, struct seam_pair *p, __u32 side)
{
	__u32 echo = SEAM_ECN_ECHO(side & 1);

	if (f->ecn == ECN_CE && !(p->ecn & echo))
		__sync_fetch_and_or(&p->ecn, echo);
	else if (f->ecn != ECN_CE && f->old.th.cwr && p->ecn & echo)
		__sync_fetch_and_and(&p->ecn, ~echo);
}

/* Segments of one host may be on several CPUs: whoever is late must not take it back, or what answers the last one
 * would not be plausible any more. */
static __always_inline void raise(__u32 *end, __u32 to)
{
	for (int i = 0; i < 4; i++) {
		__u32 now = *(volatile __u32 *)end;

		if ((__s32)(to - now) <= 0 || __sync_val_compare_and_swap(end, now, to) == now)
			return;
	}
}

static void record(const struct frame *f, struct seam_pair *p, __u32 side)
{
	struct seam_side *s = &p->side[side & 1], *o = &p->side[(side & 1) ^ 1];
	const struct tcphdr *th = &f->old.th;
	__u32 window = (__u32)bpf_ntohs(th->window) << (p->scale[side & 1] & 15);
	__u32 end = f->seq + f->payload + th->fin, closing = 0;

	if (th->rst) {
		if (f->seq - (o->ack + o->ack_add) <= o->window)
			__sync_fetch_and_or(&p->closing, SEAM_CLOSING_RST);
		return;
	}
	if (!th->ack || !plausible(f, s, o))
		return;
	raise(&s->end, end);
	if ((__s32)(f->ack - s->ack) >= 0) {
		raise(&s->ack, f->ack);
		if (window > s->window)
			s->window = window;
	}
	if (p->ecn & SEAM_ECN_ONLY(side & 1))
		note_congestion(f, p, side);
	if (th->fin) {
		s->fin = end;
		closing |= SEAM_CLOSING_FIN(side & 1);
	}
	if (p->closing & SEAM_CLOSING_FIN((side & 1) ^ 1) &&
	    (__s32)(f->ack - (o->fin + o->seq_add)) >= 0)
		closing |= SEAM_CLOSING_ACKED((side & 1) ^ 1);
	if (closing & ~p->closing)
		__sync_fetch_and_or(&p->closing, closing);
}

/* A window that is open stays open, however coarse the other connection's scale is. */
static __u16 rescale(__u16 window, __s8 shift)
{
	__u32 w = bpf_ntohs(window), n;

	n = shift >= 0 ? w << (shift & 15) : w >> (-shift & 15);
	if (n > 65535)
		n = 65535;
	return bpf_htons(w && !n ? 1 : n);
}

static void translate_options(struct frame *f, const struct seam_side *s, __u32 is_ack)
{
	__u8 *options = f->new.options;

	if (f->ts_at == 4) { /* aligned, as mostly */
		add32(options, 4, s->ts_add);
		add32(options, 8, is_ack ? s->ecr_add : 0);
	} else if (f->ts_at) {
		add32(options, f->ts_at, s->ts_add);
		add32(options, f->ts_at + 4U, is_ack ? s->ecr_add : 0);
	}
	if (f->sack_at)
		for (__u32 i = 0; i < 8 && i < f->sack_words; i++)
			add32(options, f->sack_at + 4 * i, s->ack_add);
}

/* ECN that only one side has ends here, so that its packets are not marked on a way whose end does not tell. */
static void translate_ecn(struct tcphdr *th, const struct seam_pair *p, __u32 side)
{
	if (p->ecn & SEAM_ECN_ONLY(side & 1))
		th->ece = th->cwr = 0;
	else if (p->ecn & SEAM_ECN_ECHO((side & 1) ^ 1) && th->ack && !th->rst)
		th->ece = 1;
}

/* What is added to the checksum, or -errno. The checksum field itself is left to the kernel, which knows what of
 * it the hardware does. */
static __s64 translate_tcp(struct __sk_buff *skb, struct frame *f, struct seam_pair *p, __u32 side)
{
	const struct seam_side *s = &p->side[side & 1], *o = &p->side[(side & 1) ^ 1];
	struct tcphdr *th = &f->new.th;
	__u32 bytes = sizeof(*th) + f->options;
	__s64 r;

	th->source = o->in.dport;
	th->dest = o->in.sport;
	th->seq = bpf_htonl(f->seq + s->seq_add);
	if (th->ack)
		th->ack_seq = bpf_htonl(f->ack + s->ack_add);
	th->window = rescale(th->window, p->shift[side & 1]);
	translate_options(f, s, th->ack);
	if (p->ecn)
		translate_ecn(th, p, side);
	if (bytes > sizeof(*th) + TCP_OPTIONS_MAX)
		return -1;
	r = bpf_skb_store_bytes(skb, f->l4, &f->new, bytes, 0);
	if (r)
		return r;
	return bpf_csum_diff((__be32 *)&f->old, sizeof(f->old), (__be32 *)&f->new, sizeof(f->new),
			     0);
}

/* The IP header says that nobody knows of ECN; 0, or -1. */
static __s64 clear_ecn(struct __sk_buff *skb, const struct frame *f)
{
	__be32 old, new;

	if (bpf_skb_load_bytes(skb, f->l3, &old, sizeof(old)))
		return -1;
	if (f->key.family == AF_INET) {
		new = old & ~bpf_htonl((__u32)ECN_CE << 16);
		return bpf_skb_store_bytes(skb, f->l3, &new, sizeof(new), 0) ||
				       bpf_l3_csum_replace(skb, f->l3 + IP_CHECK_AT, old, new, 4)
			       ? -1
			       : 0;
	}
	new = old & ~bpf_htonl((__u32)ECN_CE << 20);
	if (bpf_skb_store_bytes(skb, f->l3, &new, sizeof(new), 0))
		return -1;
	/* Nothing makes up for it in an IPv6 header. */
	bpf_csum_update(skb, bpf_csum_diff(&old, sizeof(old), &new, sizeof(new), 0));
	return 0;
}

static __s64 translate_udp(struct __sk_buff *skb, const struct frame *f, const struct seam_side *o)
{
	__be16 old[2] = { f->key.sport, f->key.dport }, new[2] = { o->in.dport, o->in.sport },
	       check;
	__s64 r = bpf_skb_store_bytes(skb, f->l4, new, sizeof(new), 0), head;

	if (r || bpf_skb_load_bytes(skb, f->l4 + UDP_CHECK_AT, &check, sizeof(check)))
		return -1;
	head = bpf_csum_diff((__be32 *)old, sizeof(old), (__be32 *)new, sizeof(new), 0);
	if (!check) /* nothing makes up for new ports in a sum over the packet, if there is one */
		bpf_csum_update(skb, head);
	return head;
}

/* Both give the packet other addresses, and return what is added to a checksum over them, or -errno. */
static __always_inline __s64 readdress_ipv4(struct __sk_buff *skb, const struct frame *f,
					    const __u8 *source, const __u8 *destination)
{
	__be32 old[2] = { *(const __u32 *)f->key.saddr, *(const __u32 *)f->key.daddr };
	__be32 new[2] = { *(const __u32 *)source, *(const __u32 *)destination };
	__u8 ttl[2][4] = { { f->ttl }, { f->ttl - 1 } };
	__s64 addrs = bpf_csum_diff(old, sizeof(old), new, sizeof(new), 0), all;

	all = bpf_csum_diff((__be32 *)ttl[0], 4, (__be32 *)ttl[1], 4, addrs);
	if (bpf_skb_store_bytes(skb, f->l3 + IP_TTL_AT, ttl[1], 1, 0) ||
	    bpf_skb_store_bytes(skb, f->l3 + IP_ADDRS_AT, new, sizeof(new), 0) ||
	    bpf_l3_csum_replace(skb, f->l3 + IP_CHECK_AT, 0, all, 0))
		return -1;
	return addrs;
}

/* The new ones are put together in f->old, which is not needed any more: the stack is small (6.1). */
static __always_inline __s64 readdress_ipv6(struct __sk_buff *skb, struct frame *f,
					    const __u8 *source, const __u8 *destination)
{
	__u8 hops[2][4] = { { 0, 0, 0, f->ttl }, { 0, 0, 0, f->ttl - 1 } };
	__u8 *new = (__u8 *)&f->old;

	__builtin_memcpy(new, source, 16);
	__builtin_memcpy(new + 16, destination, 16);
	if (bpf_skb_store_bytes(skb, f->l3 + IP6_HOPS_AT, &hops[1][3], 1, 0) ||
	    bpf_skb_store_bytes(skb, f->l3 + IP6_ADDRS_AT, new, 32, 0))
		return -1;
	/* Nor does anything in an IPv6 header for the hop limit. */
	bpf_csum_update(skb, bpf_csum_diff((__be32 *)hops[0], 4, (__be32 *)hops[1], 4, 0));
	return bpf_csum_diff((__be32 *)f->key.saddr, 32, (__be32 *)new, 32, 0);
}

/* In IPv4 the header's checksum makes up for new addresses in a sum over the packet (CHECKSUM_COMPLETE), in
 * IPv6 that of TCP or UDP does, what the kernel knows only since 6.16 (BPF_F_IPV6). */
static __u64 flags_for_addresses(struct __sk_buff *skb, const struct frame *f)
{
	if (f->key.family == AF_INET6 && (__s64)bpf_csum_update(skb, 0) >= 0)
		return 0;
	return BPF_F_PSEUDO_HDR;
}

/* 0, or -1: the packet is in pieces. Global, and so verified on its own, once. */
__noinline int seam_translate(struct __sk_buff *skb, struct frame *f, struct seam_pair *p,
			      __u32 side)
{
	__u64 zero_is_none = 0;
	struct seam_side *o;
	__s64 head, addrs;
	__u32 check;

	if (!f || !p)
		return -1;
	o = &p->side[(side & 1) ^ 1];
	if (f->key.protocol == IPPROTO_TCP) {
		check = f->l4 + TCP_CHECK_AT;
		head = translate_tcp(skb, f, p, side);
	} else {
		check = f->l4 + UDP_CHECK_AT;
		zero_is_none = BPF_F_MARK_MANGLED_0;
		head = translate_udp(skb, f, o);
	}
	if (head < 0)
		return -1;
	if (f->key.family == AF_INET)
		addrs = readdress_ipv4(skb, f, o->in.daddr, o->in.saddr);
	else
		addrs = readdress_ipv6(skb, f, o->in.daddr, o->in.saddr);
	if (p->ecn & SEAM_ECN_ONLY(side & 1) && f->ecn && clear_ecn(skb, f))
		return -1;
	if (addrs < 0 || bpf_l4_csum_replace(skb, check, 0, head, zero_is_none) ||
	    bpf_l4_csum_replace(skb, check, 0, addrs, zero_is_none | flags_for_addresses(skb, f)))
		return -1;
	skb->mark = o->mark;
	return 0;
}
