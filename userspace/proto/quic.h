/* quic - the ClientHello of a QUIC connection (RFC 9000, RFC 9369), from the Initials of the
 * client.
 *
 * The keys come from the destination connection ID of the client's first Initial. After a Retry it
 * is another one; after the first answer of the server it is another one too, but not for the keys.
 * So both are tried: the one that served last, and the packet's own.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "proto/quic_crypto.h"
#include "proto/quic_keys.h"
#include "proto/sniff.h"

#define QUIC_DATAGRAMS_MAX 8

struct quic_cid {
	uint8_t len;
	uint8_t bytes[QUIC_CID_MAX];
};

struct quic {
	unsigned datagrams;
	bool opened; /* an Initial; @cid gave the keys */
	struct quic_cid cid;
	uint64_t next_number; /* one more than the highest packet number */
	struct quic_crypto crypto;
};

void quic_init(struct quic *quic);
/* The next datagram of the client. SNIFF_MORE only after an Initial that could be opened: then it
 * is QUIC, and the hello is not whole. SNIFF_NO after QUIC_DATAGRAMS_MAX of them. */
enum sniff_result quic_datagram(struct quic *quic, const uint8_t *data, size_t len,
				struct sniff *ret);
/* The packet number nearest to @expected that ends in the @bits of @truncated (RFC 9000 A.3). */
uint64_t quic_packet_number(uint64_t expected, uint64_t truncated, unsigned bits);
