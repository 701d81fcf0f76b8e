/* RST for both hosts of a taken pair, as if the other had sent it. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include "kern/packet_object.h"

#define HOPS 64

struct segment {
	union {
		struct iphdr v4;
		struct ip6_hdr v6;
	} ip;
	struct tcphdr tcp;
};

static uint32_t sum_of(const void *data, size_t bytes, uint32_t sum)
{
	const uint8_t *at = data;

	for (size_t i = 0; i + 1 < bytes; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static struct tcphdr make_tcp(const struct seam_side *to, uint32_t seq, uint32_t ack)
{
	size_t bytes = to->in.family == AF_INET ? 4 : 16;
	struct tcphdr tcp = { .source = to->in.dport,
			      .dest = to->in.sport,
			      .seq = htonl(seq),
			      .ack_seq = htonl(ack),
			      .doff = sizeof(tcp) / 4,
			      .rst = 1,
			      .ack = 1 };
	uint32_t sum = IPPROTO_TCP + sizeof(tcp);

	sum = sum_of(to->in.daddr, bytes, sum_of(to->in.saddr, bytes, sum));
	tcp.check = fold(sum_of(&tcp, sizeof(tcp), sum));
	return tcp;
}

/* Bytes of the packet, whose source is the other host as @to knows it. */
static size_t make_ipv4(const struct seam_side *to, const struct tcphdr *tcp, uint8_t *packet)
{
	struct iphdr ip = { .version = 4,
			    .ihl = sizeof(ip) / 4,
			    .tot_len = htons(sizeof(ip) + sizeof(*tcp)),
			    .frag_off = htons(IP_DF),
			    .ttl = HOPS,
			    .protocol = IPPROTO_TCP };

	memcpy(&ip.saddr, to->in.daddr, sizeof(ip.saddr));
	memcpy(&ip.daddr, to->in.saddr, sizeof(ip.daddr));
	memcpy(packet, &ip, sizeof(ip)); /* the kernel fills in the checksum */
	memcpy(packet + sizeof(ip), tcp, sizeof(*tcp));
	return sizeof(ip) + sizeof(*tcp);
}

static size_t make_ipv6(const struct seam_side *to, const struct tcphdr *tcp, uint8_t *packet)
{
	struct ip6_hdr ip = { .ip6_plen = htons(sizeof(*tcp)),
			      .ip6_nxt = IPPROTO_TCP,
			      .ip6_hlim = HOPS };

	ip.ip6_vfc = 6U << 4;
	memcpy(&ip.ip6_src, to->in.daddr, sizeof(ip.ip6_src));
	memcpy(&ip.ip6_dst, to->in.saddr, sizeof(ip.ip6_dst));
	memcpy(packet, &ip, sizeof(ip));
	memcpy(packet + sizeof(ip), tcp, sizeof(*tcp));
	return sizeof(ip) + sizeof(*tcp);
}

static int send_marked(int fd, const struct sockaddr *to, socklen_t to_bytes, struct iovec *iov,
		       uint32_t mark)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(mark))];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof(mark)),
				  .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SO_MARK } };
	struct msghdr message = { .msg_name = (void *)to,
				  .msg_namelen = to_bytes,
				  .msg_iov = iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.header), &mark, sizeof(mark));
	return sendmsg(fd, &message, MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int send_rst(const struct packet *p, const struct seam_side *to, uint32_t seq, uint32_t ack)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct tcphdr tcp = make_tcp(to, seq, ack);
	uint8_t packet[sizeof(struct segment)];
	struct iovec iov = { .iov_base = packet };

	if (to->in.family == AF_INET) {
		memcpy(&v4.sin_addr, to->in.saddr, sizeof(v4.sin_addr));
		iov.iov_len = make_ipv4(to, &tcp, packet);
		return send_marked(p->raw4, (void *)&v4, sizeof(v4), &iov, to->mark);
	}
	memcpy(&v6.sin6_addr, to->in.saddr, sizeof(v6.sin6_addr));
	iov.iov_len = make_ipv6(to, &tcp, packet);
	return send_marked(p->raw6, (void *)&v6, sizeof(v6), &iov, to->mark);
}

/* A host takes RST only with the number that it waits for: what it has acknowledged, or, while it delays an
 * acknowledgement, the end of all that was sent to it. */
static int send_rsts(const struct packet *p, const struct seam_side *to,
		     const struct seam_side *from)
{
	uint32_t sent = from->end + from->seq_add;
	int r = send_rst(p, to, to->ack, to->end);

	return r || sent == to->ack ? r : send_rst(p, to, sent, to->end);
}

int packet_kill(struct packet_pair *pair)
{
	const struct packet *p = pair->packet;
	struct seam_side side[2];
	int r = 0;

	if (packet_disarm(pair) != SEAM_PACKET_TAKEN ||
	    pair->shared->side[0].in.protocol != IPPROTO_TCP) {
		packet_remove(pair);
		return 0;
	}
	memcpy(side, pair->shared->side, sizeof(side));
	packet_remove(pair);
	for (int i = 0; i < 2; i++) {
		int err = send_rsts(p, &side[i], &side[!i]);

		if (err)
			r = err;
	}
	return r;
}
