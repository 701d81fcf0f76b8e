#include "net/icmp.h"
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <linux/icmp.h> /* the one of netinet/ has a struct icmp too */
#include <string.h>
#include "base/cleanup.h"
#include "net/checksum.h"
#include "net/sock.h"

#define MAX4      576  /* bytes of the whole packet: RFC 1812 4.3.2.3 */
#define MAX6      1280 /* RFC 4443 2.4 (c) */
#define HOP_LIMIT 64   /* RFC 1700; of the datagram it is not known */

/* Each is the packet from its IP header on, followed by the first bytes of the datagram. */
struct packet4 {
	struct ip ip;
	struct icmphdr icmp;
	struct ip quoted_ip;
	struct udphdr quoted_udp;
	uint8_t data[MAX4 - 56];
};
_Static_assert(sizeof(struct packet4) == MAX4, "no padding");

struct packet6 {
	struct ip6_hdr ip;
	struct icmp6_hdr icmp;
	struct ip6_hdr quoted_ip;
	struct udphdr quoted_udp;
	uint8_t data[MAX6 - 96];
};
_Static_assert(sizeof(struct packet6) == MAX6, "no padding");

/* The socket sends whole packets (IP_HDRINCL is implied), and never receives one: raw(7). */
static int open_raw(sa_family_t family, uint32_t mark)
{
	defer_close int fd = socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
	int r;

	if (fd < 0)
		return -errno;
	r = mark ? sock_set_mark(fd, mark) : 0;
	return r ? r : TAKE_FD(fd);
}

int icmp_open(struct icmp *icmp, uint32_t mark)
{
	int fd4 = open_raw(AF_INET, mark), fd6 = open_raw(AF_INET6, mark);

	if (fd4 < 0 && fd6 < 0)
		return fd4;
	icmp->fd4 = fd4 < 0 ? -1 : fd4;
	icmp->fd6 = fd6 < 0 ? -1 : fd6;
	return 0;
}

void icmp_close(struct icmp *icmp)
{
	cleanup_close(&icmp->fd4);
	cleanup_close(&icmp->fd6);
	*icmp = (struct icmp){ -1, -1 };
}

static int send_packet(int fd, const struct addr *to, const void *packet, size_t len)
{
	struct addr no_port = *to; /* a port is a protocol to raw(7) */
	struct sockaddr_storage sa;
	socklen_t sa_len;

	no_port.port = 0;
	sa_len = addr_to_sockaddr(&no_port, &sa);
	return sendto(fd, packet, len, MSG_DONTWAIT, (struct sockaddr *)&sa, sa_len) < 0 ? -errno
											 : 0;
}

static int send4(int fd, const struct addr *source, const struct addr *destination,
		 const uint8_t *data, size_t len)
{
	struct packet4 packet = {
		.ip = { .ip_v = 4,
			.ip_hl = 5,
			.ip_tos = IPTOS_PREC_INTERNETCONTROL, /* RFC 1812 4.3.2.5 */
			.ip_ttl = HOP_LIMIT,
			.ip_p = IPPROTO_ICMP,
			.ip_src = destination->v4,
			.ip_dst = source->v4 },
		.icmp = { .type = ICMP_DEST_UNREACH, .code = ICMP_PORT_UNREACH },
		.quoted_ip = { .ip_v = 4,
			       .ip_hl = 5,
			       .ip_len = htons(
				       (uint16_t)(sizeof(struct ip) + sizeof(struct udphdr) + len)),
			       .ip_ttl = HOP_LIMIT,
			       .ip_p = IPPROTO_UDP,
			       .ip_src = source->v4,
			       .ip_dst = destination->v4 },
		.quoted_udp = udp_header(source, destination, data, len),
	};
	size_t quoted = len < sizeof(packet.data) ? len : sizeof(packet.data);
	size_t total = offsetof(struct packet4, data) + quoted;

	if (quoted)
		memcpy(packet.data, data, quoted);
	packet.quoted_ip.ip_sum = checksum_end(
		checksum_add(0, &packet.quoted_ip, sizeof(packet.quoted_ip)));
	packet.icmp.checksum = checksum_end(
		checksum_add(0, &packet.icmp, total - sizeof(packet.ip)));
	/* The kernel fills in length, identification and checksum of the outer header. */
	return send_packet(fd, source, &packet, total);
}

static int send6(int fd, const struct addr *source, const struct addr *destination,
		 const uint8_t *data, size_t len)
{
	struct packet6 packet = {
		.ip = { .ip6_flow = htonl(6U << 28),
			.ip6_nxt = IPPROTO_ICMPV6,
			.ip6_hlim = HOP_LIMIT,
			.ip6_src = destination->v6,
			.ip6_dst = source->v6 },
		.icmp = { .icmp6_type = ICMP6_DST_UNREACH, .icmp6_code = ICMP6_DST_UNREACH_NOPORT },
		.quoted_ip = { .ip6_flow = htonl(6U << 28),
			       .ip6_plen = htons((uint16_t)(sizeof(struct udphdr) + len)),
			       .ip6_nxt = IPPROTO_UDP,
			       .ip6_hlim = HOP_LIMIT,
			       .ip6_src = source->v6,
			       .ip6_dst = destination->v6 },
		.quoted_udp = udp_header(source, destination, data, len),
	};
	size_t quoted = len < sizeof(packet.data) ? len : sizeof(packet.data);
	size_t payload = offsetof(struct packet6, data) + quoted - sizeof(packet.ip);
	uint64_t sum = htons((uint16_t)payload) + htons(IPPROTO_ICMPV6);

	if (quoted)
		memcpy(packet.data, data, quoted);
	packet.ip.ip6_plen = htons((uint16_t)payload);
	sum = checksum_add(sum, &packet.ip.ip6_src, 2 * sizeof(packet.ip.ip6_src));
	packet.icmp.icmp6_cksum = checksum_end(checksum_add(sum, &packet.icmp, payload));
	return send_packet(fd, source, &packet, sizeof(packet.ip) + payload);
}

/* RFC 1122 3.2.2, RFC 4443 2.4 (e): nothing is said to, or in the name of, what is not one host. */
static bool is_one_host(const struct addr *addr)
{
	return addr->family != AF_UNSPEC && !addr_is_unspecified(addr) && !addr_is_multicast(addr);
}

int icmp_port_unreachable(struct icmp *icmp, const struct addr *source,
			  const struct addr *destination, const uint8_t *data, size_t len)
{
	int fd = source->family == AF_INET ? icmp->fd4 : icmp->fd6;

	if (source->family != destination->family || !is_one_host(source) ||
	    !is_one_host(destination) || len > UINT16_MAX - sizeof(struct udphdr))
		return -EINVAL;
	if (fd < 0)
		return -EAFNOSUPPORT;
	return source->family == AF_INET ? send4(fd, source, destination, data, len)
					 : send6(fd, source, destination, data, len);
}
