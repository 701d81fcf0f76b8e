/* quic_seal - an Initial as a client seals it: what quic_keys opens, made by the cipher itself. */
#pragma once
#include <assert.h>
#include <nettle/gcm.h>
#include <string.h>
#include "proto/quic_keys.h"

#define QUIC_SEAL_MAX 4600 /* bytes of a packet; of frames 100 less */

struct quic_seal {
	uint32_t version;
	const void *dcid;     /* of 8 bytes */
	const void *key_dcid; /* the keys are made of; NULL: @dcid */
	uint64_t number;
	unsigned number_len; /* 1 to 4 */
};

/* At least 20 bytes of @frames, so that there is something to sample. Returns the length of @out.
 * */
static inline size_t quic_seal(const struct quic_seal *seal, const void *frames, size_t len,
			       uint8_t out[QUIC_SEAL_MAX])
{
	size_t length = seal->number_len + len + QUIC_TAG_SIZE, at = 18;
	size_t header_len = at + seal->number_len;
	uint8_t nonce[12], mask[QUIC_MASK_SIZE];
	struct gcm_aes128_ctx gcm;
	struct quic_keys keys;

	assert(len >= 4 && len <= QUIC_SEAL_MAX - 100);
	quic_keys_derive(seal->version, seal->key_dcid ? seal->key_dcid : seal->dcid, 8, &keys);
	out[0] = (uint8_t)((seal->version == QUIC_V2 ? 0xd0 : 0xc0) | (seal->number_len - 1));
	for (unsigned i = 0; i < 4; i++)
		out[1 + i] = (uint8_t)(seal->version >> (24 - 8 * i));
	out[5] = 8;
	memcpy(out + 6, seal->dcid, 8);
	out[14] = out[15] = 0; /* no source ID, no token */
	out[16] = (uint8_t)(0x40 | length >> 8);
	out[17] = (uint8_t)length;
	for (unsigned i = 0; i < seal->number_len; i++)
		out[at + i] = (uint8_t)(seal->number >> (8 * (seal->number_len - 1 - i)));
	memcpy(nonce, keys.iv, sizeof(nonce));
	for (unsigned i = 0; i < 8; i++)
		nonce[11 - i] ^= (uint8_t)(seal->number >> (8 * i));
	gcm_aes128_set_key(&gcm, keys.key);
	gcm_aes128_set_iv(&gcm, sizeof(nonce), nonce);
	gcm_aes128_update(&gcm, header_len, out);
	gcm_aes128_encrypt(&gcm, len, out + header_len, frames);
	gcm_aes128_digest(&gcm, QUIC_TAG_SIZE, out + header_len + len);
	quic_keys_mask(&keys, out + at + 4, mask);
	out[0] ^= mask[0] & 0x0f;
	for (unsigned i = 0; i < seal->number_len; i++)
		out[at + i] ^= mask[1 + i];
	return header_len + len + QUIC_TAG_SIZE;
}
