/* packet_icmp - "packet too big" from a router on the way to one host of a taken pair is for the other host, whose
 * packet it was (ICMP type 3 code 4, RFC 1191; ICMPv6 type 2, RFC 8201). All other ICMP is the stack's. */
#pragma once

#define ICMP_BYTES    8
#define ICMP_CHECK_AT 2
#define QUOTED        8 /* bytes of the quoted TCP or UDP header: ports and sequence number */

struct quote4 {
	struct iphdr ip;
	__be16 sport, dport;
	__be32 seq;
};

struct quote6 {
	struct ipv6hdr ip;
	__be16 sport, dport;
	__be32 seq;
};

static int is_too_big(struct __sk_buff *skb, const struct frame *f)
{
	__u8 type[2];

	if (f->irregular || f->ttl <= 1 || bpf_skb_load_bytes(skb, f->l4, type, sizeof(type)))
		return 0;
	if (f->key.family == AF_INET)
		return f->key.protocol == IPPROTO_ICMP && type[0] == 3 && type[1] == 4;
	return f->key.protocol == IPPROTO_ICMPV6 && type[0] == 2;
}

/* The tuple of an answer to the quoted packet, whose bytes come to be in f->old. */
static int read_quote(struct __sk_buff *skb, struct frame *f, struct seam_tuple *ret)
{
	struct quote4 *four = (void *)&f->old;
	struct quote6 *six = (void *)&f->old;

	ret->family = f->key.family;
	if (f->key.family == AF_INET) {
		if (bpf_skb_load_bytes(skb, f->l4 + ICMP_BYTES, four, sizeof(*four)) ||
		    four->ip.version != 4 || four->ip.ihl != 5 ||
		    four->ip.frag_off & bpf_htons(IP_OFFSET) ||
		    four->ip.saddr != *(__u32 *)f->key.daddr)
			return -1;
		ret->protocol = four->ip.protocol;
		*(__u32 *)ret->saddr = four->ip.daddr;
		*(__u32 *)ret->daddr = four->ip.saddr;
		ret->sport = four->dport;
		ret->dport = four->sport;
		return 0;
	}
	if (bpf_skb_load_bytes(skb, f->l4 + ICMP_BYTES, six, sizeof(*six)) || six->ip.version != 6)
		return -1;
	ret->protocol = six->ip.nexthdr;
	__builtin_memcpy(ret->saddr, &six->ip.daddr, 16);
	__builtin_memcpy(ret->daddr, &six->ip.saddr, 16);
	ret->sport = six->dport;
	ret->dport = six->sport;
	return 0;
}

static __be16 header_sum(struct iphdr *ip)
{
	__u64 sum;

	ip->check = 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* What is added to the checksum, or -errno: f->new quotes the packet as the host of @s sent it. */
static __s64 requote(struct __sk_buff *skb, struct frame *f, const struct seam_side *s)
{
	struct quote4 *four = (void *)&f->new;
	struct quote6 *six = (void *)&f->new;
	__u32 back = s->in.protocol == IPPROTO_TCP ? s->seq_add : 0;
	int r;

	f->new = f->old;
	if (f->key.family == AF_INET) {
		four->ip.saddr = *(const __u32 *)s->in.saddr;
		four->ip.daddr = *(const __u32 *)s->in.daddr;
		four->ip.check = header_sum(&four->ip);
		four->sport = s->in.sport;
		four->dport = s->in.dport;
		four->seq = bpf_htonl(bpf_ntohl(four->seq) - back);
		r = bpf_skb_store_bytes(skb, f->l4 + ICMP_BYTES, four, sizeof(*four), 0);
	} else {
		__builtin_memcpy(&six->ip.saddr, s->in.saddr, 16);
		__builtin_memcpy(&six->ip.daddr, s->in.daddr, 16);
		six->sport = s->in.sport;
		six->dport = s->in.dport;
		six->seq = bpf_htonl(bpf_ntohl(six->seq) - back);
		r = bpf_skb_store_bytes(skb, f->l4 + ICMP_BYTES, six, sizeof(*six), 0);
	}
	if (r)
		return r;
	return bpf_csum_diff((__be32 *)&f->old, sizeof(f->old), (__be32 *)&f->new, sizeof(f->new),
			     0);
}

/* Somebody who is not on the way does not know which numbers are in flight. */
static int is_in_flight(const struct frame *f, const struct seam_side *o)
{
	const struct quote4 *four = (const void *)&f->old;
	const struct quote6 *six = (const void *)&f->old;
	__u32 seq = bpf_ntohl(f->key.family == AF_INET ? four->seq : six->seq);

	return o->in.protocol != IPPROTO_TCP || seq - o->ack <= o->window + SLACK;
}

/* The pair and the side that it is for, and the packet translated: 0 and f->way, -1: the stack's, 1: in pieces. */
__noinline int seam_too_big(struct __sk_buff *skb, struct frame *f)
{
	struct seam_tuple answer = {};
	struct seam_half *half;
	struct seam_side *s, *o;
	struct seam_pair *p;
	__s64 quote, addrs;
	__u32 index;

	if (!f || read_quote(skb, f, &answer))
		return -1;
	half = bpf_map_lookup_elem(&seam_halves, &answer);
	if (!half)
		return -1;
	index = half->pair;
	o = NULL;
	p = bpf_map_lookup_elem(&seam_pairs, &index);
	if (!p || SEAM_PACKET_STATE(p->state) != SEAM_PACKET_TAKEN)
		return -1;
	o = &p->side[half->side & 1];
	s = &p->side[(half->side & 1) ^ 1];
	if (!is_in_flight(f, o))
		return -1;
	quote = requote(skb, f, s);
	if (quote < 0)
		return 1;
	if (f->key.family == AF_INET)
		addrs = readdress_ipv4(skb, f, f->key.saddr, s->in.saddr);
	else
		addrs = readdress_ipv6(skb, f, f->key.saddr, s->in.saddr);
	if (addrs < 0 || bpf_l4_csum_replace(skb, f->l4 + ICMP_CHECK_AT, 0, quote, 0))
		return 1;
	if (f->key.family == AF_INET6 &&
	    bpf_l4_csum_replace(skb, f->l4 + ICMP_CHECK_AT, 0, addrs, flags_for_addresses(skb, f)))
		return 1;
	skb->mark = s->mark;
	read_way(s, &f->way);
	return 0;
}
