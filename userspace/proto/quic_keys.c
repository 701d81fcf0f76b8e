#include "proto/quic_keys.h"
#include <nettle/aes.h>
#include <nettle/gcm.h>
#include <nettle/hkdf.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <string.h>

#define SALT_SIZE 20
#define INFO_MAX  32 /* of the longest label here */

static const struct version {
	uint32_t number;
	uint8_t salt[SALT_SIZE];
	const char *key, *iv, *hp;
} versions[] = {
	{ QUIC_V1,
	  { 0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17,
	    0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a },
	  "tls13 quic key",
	  "tls13 quic iv",
	  "tls13 quic hp" },
	{ QUIC_V2,
	  { 0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93,
	    0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9 },
	  "tls13 quicv2 key",
	  "tls13 quicv2 iv",
	  "tls13 quicv2 hp" },
};

static const struct version *find_version(uint32_t number)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (versions[i].number == number)
			return &versions[i];
	return NULL;
}

static void digest(struct hmac_sha256_ctx *hmac, size_t len, uint8_t *ret)
{
	hmac_sha256_digest(hmac, len, ret);
}

static void extract(const uint8_t *salt, const uint8_t *secret, size_t len,
		    uint8_t ret[SHA256_DIGEST_SIZE])
{
	struct hmac_sha256_ctx hmac;

	hmac_sha256_set_key(&hmac, SALT_SIZE, salt);
	hmac_sha256_update(&hmac, len, secret);
	digest(&hmac, SHA256_DIGEST_SIZE, ret);
}

/* HKDF-Expand-Label of RFC 8446 7.1 with an empty context. */
static void expand(const uint8_t secret[SHA256_DIGEST_SIZE], const char *label, size_t len,
		   uint8_t *ret)
{
	struct hmac_sha256_ctx hmac;
	size_t label_len = strlen(label);
	uint8_t info[INFO_MAX] = { 0, (uint8_t)len, (uint8_t)label_len };

	for (size_t i = 0; i < label_len; i++)
		info[3 + i] = (uint8_t)label[i];
	/* A zero is left behind it, the length of the context. */
	hmac_sha256_set_key(&hmac, SHA256_DIGEST_SIZE, secret);
	hkdf_expand(&hmac, (nettle_hash_update_func *)hmac_sha256_update,
		    (nettle_hash_digest_func *)digest, SHA256_DIGEST_SIZE, label_len + 4, info, len,
		    ret);
}

bool quic_keys_derive(uint32_t version, const uint8_t *dcid, size_t len, struct quic_keys *ret)
{
	const struct version *v = find_version(version);
	uint8_t initial[SHA256_DIGEST_SIZE], client[SHA256_DIGEST_SIZE];

	if (!v)
		return false;
	extract(v->salt, dcid, len, initial);
	expand(initial, "tls13 client in", sizeof(client), client);
	expand(client, v->key, sizeof(ret->key), ret->key);
	expand(client, v->iv, sizeof(ret->iv), ret->iv);
	expand(client, v->hp, sizeof(ret->hp), ret->hp);
	return true;
}

void quic_keys_mask(const struct quic_keys *keys, const uint8_t *sample,
		    uint8_t ret_mask[QUIC_MASK_SIZE])
{
	struct aes128_ctx aes;
	uint8_t block[AES_BLOCK_SIZE];

	aes128_set_encrypt_key(&aes, keys->hp);
	memcpy(block, sample, sizeof(block)); /* a read too far is not seen in the library */
	aes128_encrypt(&aes, sizeof(block), block, block);
	memcpy(ret_mask, block, QUIC_MASK_SIZE);
}

bool quic_keys_open(const struct quic_keys *keys, uint64_t number, const uint8_t *packet,
		    size_t header_len, size_t len, uint8_t *ret_payload)
{
	struct gcm_aes128_ctx gcm;
	uint8_t nonce[sizeof(keys->iv)], tag[QUIC_TAG_SIZE];
	size_t payload_len;

	if (len < header_len + QUIC_TAG_SIZE)
		return false;
	payload_len = len - header_len - QUIC_TAG_SIZE;
	memcpy(nonce, keys->iv, sizeof(nonce));
	for (size_t i = 0; i < sizeof(number); i++)
		nonce[sizeof(nonce) - 1 - i] ^= (uint8_t)(number >> (8 * i));
	gcm_aes128_set_key(&gcm, keys->key);
	gcm_aes128_set_iv(&gcm, sizeof(nonce), nonce);
	gcm_aes128_update(&gcm, header_len, packet);
	gcm_aes128_decrypt(&gcm, payload_len, ret_payload, packet + header_len);
	gcm_aes128_digest(&gcm, sizeof(tag), tag);
	return memeql_sec(tag, packet + len - QUIC_TAG_SIZE, sizeof(tag));
}
