/* packet_frame - one arriving packet, read into the stack: addresses, TCP header and options.
 *
 * Everything is read and written by helpers, never through packet pointers: they work on whatever is not
 * linear, copy what is shared only when something is written, and leave the verifier little to follow. */
#pragma once

#define AF_INET         2
#define AF_INET6        10

#define IP_FRAGMENT     0x3fff /* more to come, or an offset */
#define IP_OFFSET       0x1fff
#define ECN_CE          3 /* all bits of ECN: congestion was experienced (RFC 3168) */
#define TCP_OPTIONS_MAX 40
#define GSO_FRAGLIST    (1U << 18) /* SKB_GSO_FRAGLIST, 5.6 */

struct tcp_head {
	struct tcphdr th;
	__u8 options[TCP_OPTIONS_MAX + 4]; /* what is behind does not matter */
};

struct frame {
	struct seam_tuple key;
	__u32 l3, l4;
	__u32 payload; /* bytes behind the TCP or UDP header */
	__u32 seq, ack, tsval;
	__u8 ttl;
	__u8 options; /* bytes */
	__u8 ts_at;   /* where TSval is in them; 0: nowhere */
	__u8 sack_at; /* and the first SACK block */
	__u8 sack_words;
	__u8 irregular;   /* 1 << enum seam_packet_why */
	__u8 skip, erase; /* while parsing: bytes of the option that are left */
	__u8 strange;     /* there are options that cannot be translated */
	__u8 broken;      /* the options have no end */
	__u8 ecn;         /* of the IP header */
	union {
		struct tcp_head old;
		struct way way; /* in the end: the stack is small (6.1) */
	};
	struct tcp_head new;
};

/* The addresses; 0, or -1: nothing for us. */
static int read_ipv4(struct __sk_buff *skb, struct frame *f)
{
	struct iphdr *ip = (void *)&f->old; /* the stack is small (6.1) */
	__u32 rest = skb->len - f->l3, len;

	if (bpf_skb_load_bytes(skb, f->l3, ip, sizeof(*ip)) || ip->version != 4 || ip->ihl < 5)
		return -1;
	if (ip->frag_off & bpf_htons(IP_OFFSET))
		return -1; /* without ports */
	f->irregular = ip->ihl != 5 || ip->frag_off & bpf_htons(IP_FRAGMENT);
	f->l4 = f->l3 + ip->ihl * 4;
	len = bpf_ntohs(ip->tot_len);
	if (!len && skb->gso_size) /* more than fits (BIG TCP, 6.3) */
		len = rest;
	if (len > rest || len < ip->ihl * 4U)
		return -1;
	f->payload = len - ip->ihl * 4U;
	f->ttl = ip->ttl;
	f->ecn = ip->tos & ECN_CE;
	f->key.family = AF_INET;
	f->key.protocol = ip->protocol;
	*(__u32 *)f->key.saddr = ip->saddr;
	*(__u32 *)f->key.daddr = ip->daddr;
	return 0;
}

static int read_ipv6(struct __sk_buff *skb, struct frame *f)
{
	struct ipv6hdr *ip = (void *)&f->old;
	__u32 len;

	if (bpf_skb_load_bytes(skb, f->l3, ip, sizeof(*ip)) || ip->version != 6)
		return -1;
	f->l4 = f->l3 + sizeof(*ip);
	len = bpf_ntohs(ip->payload_len);
	if (len > skb->len - f->l4)
		return -1;
	f->payload = len;
	f->ttl = ip->hop_limit;
	f->ecn = ip->flow_lbl[0] >> 4 & ECN_CE;
	f->key.family = AF_INET6;
	f->key.protocol = ip->nexthdr; /* an extension header is in no key */
	__builtin_memcpy(f->key.saddr, &ip->saddr, 16);
	__builtin_memcpy(f->key.daddr, &ip->daddr, 16);
	return 0;
}

/* Ports are where TCP and UDP have them; for other protocols they are no ports. */
static int read_addresses(struct __sk_buff *skb, struct frame *f)
{
	int r = -1;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		r = read_ipv4(skb, f);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		r = read_ipv6(skb, f);
	if (r || f->payload < sizeof(struct udphdr))
		return -1;
	return bpf_skb_load_bytes(skb, f->l4, &f->key.sport, 4) ? -1 : 0;
}

enum { OPTIONS_GO, OPTIONS_END, OPTIONS_BEGIN };

/* A byte of the options, in order: BEGIN with the kind and length of the one that begins there. */
static __always_inline int see_option_byte(__u32 i, struct frame *f, __u32 *kind, __u32 *len)
{
	if (i >= TCP_OPTIONS_MAX || i >= f->options)
		return OPTIONS_END;
	if (f->skip) {
		f->skip--;
		if (f->erase)
			f->new.options[i] = 1;
		return OPTIONS_GO;
	}
	*kind = f->old.options[i];
	if (*kind < 2)
		return *kind ? OPTIONS_GO : OPTIONS_END;
	*len = f->old.options[i + 1];
	if (*len < 2 || i + *len > f->options) {
		f->broken = 1;
		return OPTIONS_END;
	}
	f->skip = *len - 1;
	return OPTIONS_BEGIN;
}

static long on_option_byte(__u32 i, struct frame *f)
{
	__u32 kind, len;
	int r = see_option_byte(i, f, &kind, &len);

	if (r != OPTIONS_BEGIN)
		return r;
	f->erase = 0;
	if (kind == 8 && len == 10 && !f->ts_at) {
		f->ts_at = i + 2;
	} else if (kind == 5 && len >= 10 && len <= 34 && (len & 7) == 2 && !f->sack_at) {
		f->sack_at = i + 2;
		f->sack_words = (len - 2) / 4;
	} else {
		f->strange = 1;
		f->erase = 1;
		f->new.options[i] = 1;
	}
	return 0;
}

/* Offsets are kept in one register each, for the verifier to see that what was checked is what is used. */
static __always_inline __u32 get32(const __u8 *options, __u32 at)
{
	barrier_var(at);
	if (at > TCP_OPTIONS_MAX - 4)
		return 0;
	options += at;
	return (__u32)options[0] << 24 | options[1] << 16 | options[2] << 8 | options[3];
}

static __always_inline void add32(__u8 *options, __u32 at, __u32 add)
{
	__u32 n;

	barrier_var(at);
	if (at > TCP_OPTIONS_MAX - 4)
		return;
	options += at;
	n = (__u32)options[0] << 24 | options[1] << 16 | options[2] << 8 | options[3];
	n += add;
	options[0] = n >> 24;
	options[1] = n >> 16;
	options[2] = n >> 8;
	options[3] = n;
}

/* The options of most segments, all alike; else one by one. */
static void read_options(struct frame *f)
{
	if (f->options == 12 && *(__u32 *)f->old.options == bpf_htonl(0x0101080a))
		f->ts_at = 4;
	else if (f->options)
		bpf_loop(TCP_OPTIONS_MAX, on_option_byte, f, 0);
	f->tsval = f->ts_at ? get32(f->old.options, f->ts_at) : 0;
}

extern void *bpf_cast_to_kern_ctx(void *) __ksym __weak; /* 6.2 */

/* Segments that GRO has only strung together (rx-gro-list; TCP since 6.10, where no socket wants them) keep a header
 * each, but one is translated: they become one segment. 0, or -errno. */
static __always_inline long unstring(struct __sk_buff *skb)
{
	struct skb_shared_info *info;
	struct sk_buff *kernel;
	__u32 type = 0;

	if (!skb->gso_size || !bpf_cast_to_kern_ctx)
		return 0;
	kernel = bpf_cast_to_kern_ctx(skb);
	info = (void *)(kernel->head + kernel->end);
	if (bpf_core_read(&type, sizeof(type), &info->gso_type) || !(type & GSO_FRAGLIST))
		return 0;
	return bpf_skb_pull_data(skb, skb->len);
}

/* 0, or -1: shorter than it says. */
static int load_tcp(struct __sk_buff *skb, struct frame *f)
{
	struct tcphdr *th = &f->old.th;
	__u32 options;

	if (f->payload < sizeof(*th) || bpf_skb_load_bytes(skb, f->l4, th, sizeof(*th)))
		return -1;
	options = th->doff * 4U - sizeof(*th);
	barrier_var(
		options); /* 6.1 learns more from a comparison than from a multiple of 4 that is not 0 */
	if (options > TCP_OPTIONS_MAX || options > f->payload - sizeof(*th))
		return -1;
	if (options >= 4 && bpf_skb_load_bytes(skb, f->l4 + sizeof(*th), f->old.options, options))
		return -1;
	f->new = f->old;
	f->options = options;
	f->payload -= sizeof(*th) + options;
	f->seq = bpf_ntohl(th->seq);
	f->ack = bpf_ntohl(th->ack_seq);
	return 0;
}

/* The same, or the options are broken. */
static __noinline int read_tcp(struct __sk_buff *skb, struct frame *f)
{
	if (load_tcp(skb, f))
		return -1;
	read_options(f);
	return f->broken ? -1 : 0;
}
