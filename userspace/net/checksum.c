#include "net/checksum.h"
#include <string.h>

uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint16_t word;

	for (; len > 1; len -= 2, bytes += 2) {
		memcpy(&word, bytes, 2);
		sum += word;
	}
	if (len) {
		word = 0;
		memcpy(&word, bytes, 1);
		sum += word;
	}
	return sum;
}

uint16_t checksum_end(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

struct udphdr udp_header(const struct addr *source, const struct addr *destination,
			 const uint8_t *data, size_t len)
{
	struct udphdr udp = { .uh_sport = htons(source->port),
			      .uh_dport = htons(destination->port),
			      .uh_ulen = htons((uint16_t)(sizeof(udp) + len)) };
	uint64_t sum = htons(IPPROTO_UDP) + udp.uh_ulen;
	size_t addr_len = source->family == AF_INET ? 4 : 16;

	sum = checksum_add(sum, &source->v6, addr_len);
	sum = checksum_add(sum, &destination->v6, addr_len);
	sum = checksum_add(sum, &udp, sizeof(udp));
	udp.uh_sum = checksum_end(checksum_add(sum, data, len));
	if (!udp.uh_sum)
		udp.uh_sum = 0xffff; /* 0 is "none": RFC 768 */
	return udp;
}
