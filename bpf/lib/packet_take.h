/* packet_take - the take-over of a pair: whether the two sockets are ready, and what the translation needs of
 * them. The packet arrives for socket x; y is the other one. */
#pragma once

#define TCP_ESTABLISHED 1
#define ECN_AGREED      0x01U
#define ECN_ACCURATE    0x10U /* 6.18 */
#define IPV4_AND_TCP    40U
#define IPV6_AND_TCP    60U
#define TIMESTAMPS      12U /* bytes of a header, with their padding */
#define WHY(name)       (1U << SEAM_WHY_##name)

static struct bpf_sock *find_socket(struct __sk_buff *skb, const struct seam_tuple *in)
{
	struct bpf_sock_tuple t = {};

	if (in->family == AF_INET) {
		t.ipv4.saddr = *(const __u32 *)in->saddr;
		t.ipv4.daddr = *(const __u32 *)in->daddr;
		t.ipv4.sport = in->sport;
		t.ipv4.dport = in->dport;
		return bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(t.ipv6.saddr, in->saddr, 16);
	__builtin_memcpy(t.ipv6.daddr, in->daddr, 16);
	t.ipv6.sport = in->sport;
	t.ipv6.dport = in->dport;
	return bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* Bytes that were put into @to's send queue and @from did not receive: a constant, while none is owed. */
static __u32 balance(const struct tcp_sock *to, const struct tcp_sock *from)
{
	return (__u32)to->bytes_acked + to->write_seq - to->snd_una - (__u32)from->bytes_received;
}

/* The MSS that the host of a socket was told: by the SYN, which may have been made to say less. */
static __u32 told_mss(struct bpf_sock *sk, struct tcp_sock *tp)
{
	struct seam_offer *offer = bpf_sk_storage_get(&seam_offers, sk, NULL, 0);
	__u32 mss = tp->advmss;

	if (BPF_CORE_READ_BITFIELD(tp, rx_opt.tstamp_ok))
		mss += TIMESTAMPS; /* which the kernel has taken off (RFC 6691) */
	return offer && offer->told && offer->told < mss ? offer->told : mss;
}

/* Whatever a host that was told @mss may send fits the way to @to's. */
static int fits(__u32 mss, const struct tcp_sock *to, __u32 headers)
{
	return mss <= to->rx_opt.mss_clamp && mss + headers <= to->inet_conn.icsk_pmtu_cookie;
}

/* @mss_x, @mss_y: what their hosts were told. */
static __u32 unlike(struct tcp_sock *x, struct tcp_sock *y, __u32 mss_x, __u32 mss_y, __u32 headers)
{
	__u32 why = 0;

	if (!BPF_CORE_READ_BITFIELD(x, rx_opt.tstamp_ok) !=
	    !BPF_CORE_READ_BITFIELD(y, rx_opt.tstamp_ok))
		why |= WHY(TIMESTAMP);
	if (bpf_core_field_exists(x->tcp_usec_ts) &&
	    (BPF_CORE_READ_BITFIELD(x, tcp_usec_ts) || BPF_CORE_READ_BITFIELD(y, tcp_usec_ts)))
		why |= WHY(TIMESTAMP);
	if (!BPF_CORE_READ_BITFIELD(x, rx_opt.sack_ok) !=
	    !BPF_CORE_READ_BITFIELD(y, rx_opt.sack_ok))
		why |= WHY(SACK);
	if ((x->ecn_flags | y->ecn_flags) & ECN_ACCURATE)
		why |= WHY(ECN);
	if (!fits(mss_x, y, headers) || !fits(mss_y, x, headers))
		why |= WHY(MSS);
	return why;
}

static __always_inline int layered(struct tcp_sock *tp)
{
	if (bpf_core_field_exists(tp->is_mptcp) && tp->is_mptcp)
		return 1;
	return tp->inet_conn.icsk_ulp_ops != NULL || BPF_CORE_READ_BITFIELD(tp, repair);
}

static __u32 unready(const struct frame *f, const struct seam_pair *p, __u32 side,
		     struct tcp_sock *x, struct tcp_sock *y)
{
	__u32 why = 0;

	if (x->inet_conn.icsk_inet.sk.__sk_common.skc_state != TCP_ESTABLISHED ||
	    y->inet_conn.icsk_inet.sk.__sk_common.skc_state != TCP_ESTABLISHED)
		why |= WHY(STATE);
	/* This packet itself may bring the last acknowledgement to x. */
	if (f->ack != x->write_seq || y->snd_una != y->write_seq)
		why |= WHY(UNACKED);
	if (f->seq != x->rcv_nxt || x->out_of_order_queue.rb_node || y->out_of_order_queue.rb_node)
		why |= WHY(ORDER);
	if (balance(y, x) != p->balance[side] || balance(x, y) != p->balance[side ^ 1])
		why |= WHY(OWED);
	if (layered(x) || layered(y))
		why |= WHY(LAYER);
	return why;
}

static __u32 ts_clock(const struct tcp_sock *tp)
{
	return (__u32)(bpf_ktime_get_ns() / 1000000) + tp->tsoffset;
}

/* Both hosts go on with the clock of the socket that they know, from now on at the pace of the other host. */
static void set_numbers(const struct frame *f, struct seam_side *s, struct seam_side *o,
			struct tcp_sock *x, struct tcp_sock *y)
{
	__u32 sent = x->rx_opt.ts_recent;

	barrier_var(sent); /* or one load would serve two kinds of pointers */
	if (f->ts_at)
		sent = f->tsval;
	s->seq_add = y->write_seq - x->rcv_nxt;
	s->ack_add = y->rcv_nxt - x->write_seq;
	o->seq_add = -s->ack_add;
	o->ack_add = -s->seq_add;
	s->ts_add = ts_clock(y) - sent;
	o->ts_add = ts_clock(x) - y->rx_opt.ts_recent;
	s->ecr_add = -o->ts_add;
	o->ecr_add = -s->ts_add;
}

static void set_shifts(struct seam_pair *p, __u32 side, struct tcp_sock *x, struct tcp_sock *y)
{
	__s8 to_y = (__s8)BPF_CORE_READ_BITFIELD(x, rx_opt.snd_wscale) -
		    (__s8)BPF_CORE_READ_BITFIELD(y, rx_opt.rcv_wscale);
	__s8 to_x = (__s8)BPF_CORE_READ_BITFIELD(y, rx_opt.snd_wscale) -
		    (__s8)BPF_CORE_READ_BITFIELD(x, rx_opt.rcv_wscale);

	p->scale[side & 1] = BPF_CORE_READ_BITFIELD(x, rx_opt.snd_wscale);
	p->scale[(side & 1) ^ 1] = BPF_CORE_READ_BITFIELD(y, rx_opt.snd_wscale);
	p->shift[side & 1] = to_y;
	p->shift[(side & 1) ^ 1] = to_x;
}

static void set_ecn(struct seam_pair *p, __u32 side, struct tcp_sock *x, struct tcp_sock *y)
{
	__u32 of_x = x->ecn_flags & ECN_AGREED, of_y = y->ecn_flags & ECN_AGREED;

	p->ecn = 0;
	if (of_x && !of_y)
		p->ecn = SEAM_ECN_ONLY(side & 1);
	if (of_y && !of_x)
		p->ecn = SEAM_ECN_ONLY((side & 1) ^ 1);
}

/* What the hosts have sent and expect, as far as the sockets know. */
static void set_record(const struct frame *f, struct seam_side *s, struct seam_side *o,
		       struct tcp_sock *x, struct tcp_sock *y)
{
	s->end = x->rcv_nxt;
	s->ack = f->ack;
	s->window = (__u32)bpf_ntohs(f->old.th.window)
		    << BPF_CORE_READ_BITFIELD(x, rx_opt.snd_wscale);
	o->end = y->rcv_nxt;
	o->ack = y->snd_una;
	o->window = y->snd_wnd;
}

static __u32 look_at_packet(const struct frame *f)
{
	const struct tcphdr *th = &f->old.th;
	__u32 why = 0;

	if (th->syn || th->fin || th->rst || th->urg || !th->ack)
		why |= WHY(FLAGS);
	if (f->strange || f->broken)
		why |= WHY(OPTION);
	if (f->irregular || f->ttl <= 1)
		why |= WHY(IP);
	return why;
}

static __always_inline __u32 prepare_with(const struct frame *f, struct seam_pair *p, __u32 side,
					  struct tcp_sock *x, struct tcp_sock *y, __u32 mss_x,
					  __u32 mss_y)
{
	__u32 headers = f->key.family == AF_INET ? IPV4_AND_TCP : IPV6_AND_TCP;
	struct seam_side *s = &p->side[side & 1], *o = &p->side[(side & 1) ^ 1];
	__u32 why = unready(f, p, side & 1, x, y) | unlike(x, y, mss_x, mss_y, headers);

	if (why)
		return why;
	set_numbers(f, s, o, x, y);
	set_shifts(p, side, x, y);
	set_ecn(p, side, x, y);
	set_record(f, s, o, x, y);
	return 0;
}

/* 0: the numbers are in @p, or why not. Global, and so verified on its own, once. */
__noinline __u32 seam_prepare(struct __sk_buff *skb, struct frame *f, struct seam_pair *p,
			      __u32 side)
{
	struct seam_side *s, *o;
	struct bpf_sock *xs, *ys;
	struct tcp_sock *x, *y;
	__u32 why;

	if (!f || !p)
		return WHY(SOCKET);
	why = look_at_packet(f);
	if (why)
		return why;
	s = &p->side[side & 1];
	o = &p->side[(side & 1) ^ 1];
	xs = find_socket(skb, &s->in);
	if (!xs)
		return WHY(SOCKET);
	ys = find_socket(skb, &o->in);
	if (!ys) {
		bpf_sk_release(xs);
		return WHY(SOCKET);
	}
	x = bpf_skc_to_tcp_sock(xs);
	y = bpf_skc_to_tcp_sock(ys);
	why = WHY(STATE);
	if (x && y)
		why = prepare_with(f, p, side, x, y, told_mss(xs, x), told_mss(ys, y));
	bpf_sk_release(ys);
	bpf_sk_release(xs);
	return why;
}

/* A packet of a pair that was not taken when it came: 1 if it is from now on. Whoever arms waits for a quiet
 * moment, and counts the armings: what a slow CPU finds out about an earlier one has no effect. */
static int take_over(struct __sk_buff *skb, struct frame *f, struct seam_pair *p, __u32 side,
		     __u32 word)
{
	__u64 n = __sync_fetch_and_add(&p->seen, 1);
	__u32 why, next, old;

	if (p->from != 3)
		__sync_fetch_and_or(&p->from, 1U << (side & 1));
	if (SEAM_PACKET_STATE(word) != SEAM_PACKET_ARMED)
		return 0;
	why = n == p->snapshot ? seam_prepare(skb, f, p, side) : WHY(MOVED);
	next = (word & ~3U) | (why ? SEAM_PACKET_MISSED : SEAM_PACKET_TAKEN);
	if (why)
		p->why = why;
	else
		p->taken_at = bpf_ktime_get_ns();
	old = __sync_val_compare_and_swap(&p->state, word, next);
	return SEAM_PACKET_STATE(old == word ? next : old) == SEAM_PACKET_TAKEN;
}
