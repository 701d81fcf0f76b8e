/* quic_crypto - the bytes of CRYPTO frames put in order, up to the end of the ClientHello.
 *
 * They may come in any order and more than once, but say the same each time. The buffer begins with
 * room for the head of a TLS record, which QUIC leaves out and the parser of hellos wants.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "proto/sniff.h"
#include "proto/tls_hello.h"

#define QUIC_CRYPTO_RECORD 5
#define QUIC_CRYPTO_MAX    (SNIFF_STREAM_MAX - QUIC_CRYPTO_RECORD)

struct quic_crypto {
	size_t ready;                            /* bytes from the first on without a gap */
	uint64_t seen[QUIC_CRYPTO_MAX / 64 + 1]; /* a bit a byte */
	uint8_t record[QUIC_CRYPTO_RECORD + QUIC_CRYPTO_MAX];
};

void quic_crypto_init(struct quic_crypto *crypto);
/* false: reaches beyond QUIC_CRYPTO_MAX, or contradicts what was there. */
bool quic_crypto_add(struct quic_crypto *crypto, uint64_t offset, const uint8_t *data, size_t len);
/* SNIFF_NO: not a ClientHello, or longer than QUIC_CRYPTO_MAX. */
enum sniff_result quic_crypto_hello(struct quic_crypto *crypto, struct tls_hello *ret);
