/* packet_syn - a SYN of ours, on its way out, offers no more than the connection has that it is made for. The kernel
 * takes an answer without an option as a host that does not have it. */
#pragma once

#define OPTION_MSS            2
#define OPTION_SACK_PERMITTED 4
#define OPTION_TIMESTAMPS     8

struct syn {
	struct frame f;
	struct seam_offer limit;
	__u32 mss; /* as it leaves; 0: it has none */
};

static __always_inline void lower_mss(struct syn *s, __u32 at)
{
	const __u8 *old = s->f.old.options;
	__u8 *new = s->f.new.options;

	if (at > TCP_OPTIONS_MAX - 4)
		return;
	s->mss = (__u32)old[at + 2] << 8 | old[at + 3];
	if (!s->limit.mss || s->mss <= s->limit.mss)
		return;
	s->mss = s->limit.mss;
	new[at + 2] = s->mss >> 8;
	new[at + 3] = s->mss;
}

static long on_syn_byte(__u32 i, struct syn *s)
{
	struct frame *f = &s->f;
	__u32 kind, len;
	int r = see_option_byte(i, f, &kind, &len);

	if (r != OPTIONS_BEGIN)
		return r;
	f->erase = (kind == OPTION_TIMESTAMPS && s->limit.no_timestamps) ||
		   (kind == OPTION_SACK_PERMITTED && s->limit.no_sack);
	if (f->erase)
		f->new.options[i] = 1;
	else if (kind == OPTION_MSS && len == 4)
		lower_mss(s, i);
	return 0;
}

/* 0, or -1: in pieces. */
static int store_syn(struct __sk_buff *skb, struct frame *f)
{
	__u32 bytes = sizeof(f->new.th) + f->options;
	__s64 head;

	if (bytes > sizeof(f->new.th) + TCP_OPTIONS_MAX)
		return 0;
	if (bpf_skb_store_bytes(skb, f->l4, &f->new, bytes, 0))
		return 0; /* as it was */
	head = bpf_csum_diff((__be32 *)&f->old, sizeof(f->old), (__be32 *)&f->new, sizeof(f->new),
			     0);
	return head < 0 || bpf_l4_csum_replace(skb, f->l4 + TCP_CHECK_AT, 0, head, 0) ? -1 : 0;
}

/* @l3: where the network header is. What is malformed is left as it is. */
static __always_inline int serve_syn(struct __sk_buff *skb, __u32 l3)
{
	struct seam_offer *offer;
	struct bpf_sock *sk = skb->sk;
	struct syn s = { .f.l3 = l3 };

	offer = sk ? bpf_sk_storage_get(&seam_offers, sk, NULL, 0) : NULL;
	if (!offer || read_addresses(skb, &s.f) || s.f.key.protocol != IPPROTO_TCP ||
	    load_tcp(skb, &s.f) || !s.f.old.th.syn || s.f.old.th.ack)
		return TC_ACT_UNSPEC;
	s.limit = *offer;
	bpf_loop(TCP_OPTIONS_MAX, on_syn_byte, &s, 0);
	if (s.f.broken)
		return TC_ACT_UNSPEC;
	if (store_syn(skb, &s.f))
		return TC_ACT_SHOT;
	offer->told = s.mss;
	return TC_ACT_UNSPEC;
}
