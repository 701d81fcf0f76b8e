/* checksum - the Internet checksum (RFC 1071), and the UDP header that has one. */
#pragma once
#include <netinet/udp.h>
#include <stddef.h>
#include <stdint.h>
#include "net/addr.h"

/* Sums are in network byte order throughout; they begin with 0. All but the last @len are even. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t len);
uint16_t checksum_end(uint64_t sum);

/* Of a datagram of @data, as it is on the wire (RFC 768, RFC 8200 8.1). Both addresses are of one family. */
struct udphdr udp_header(const struct addr *source, const struct addr *destination,
			 const uint8_t *data, size_t len);
