/* quic_keys - what protects the Initial packets of a QUIC client (RFC 9001 5, RFC 9369 3).
 *
 * The keys are no secret: whoever sees the packet can derive them. quic_keys.c is the only file
 * that knows the library of the ciphers.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUIC_V1          0x00000001U
#define QUIC_V2          0x6b3343cfU
#define QUIC_CID_MAX     20
#define QUIC_SAMPLE_SIZE 16
#define QUIC_MASK_SIZE   5
#define QUIC_TAG_SIZE    16

struct quic_keys {
	uint8_t key[16], iv[12], hp[16];
};

/* false: not a version that is known. */
bool quic_keys_derive(uint32_t version, const uint8_t *dcid, size_t len, struct quic_keys *ret);
/* For the first byte and the packet number, from the 16 bytes of @sample. */
void quic_keys_mask(const struct quic_keys *keys, const uint8_t *sample,
		    uint8_t ret_mask[QUIC_MASK_SIZE]);
/* @packet is a header in the clear and a sealed payload with its tag, @len bytes with @header_len
 * of header. @ret_payload: @len - @header_len - QUIC_TAG_SIZE bytes, may be where the sealed ones
 * are; nothing in it is to be believed with false. */
bool quic_keys_open(const struct quic_keys *keys, uint64_t number, const uint8_t *packet,
		    size_t header_len, size_t len, uint8_t *ret_payload);
