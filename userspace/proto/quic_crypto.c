#include "proto/quic_crypto.h"
#include <string.h>

#define HANDSHAKE_HEAD 4
#define CLIENT_HELLO   1

void quic_crypto_init(struct quic_crypto *crypto)
{
	crypto->ready = 0;
	memset(crypto->seen, 0, sizeof(crypto->seen));
}

static bool is_seen(const struct quic_crypto *crypto, size_t at)
{
	return crypto->seen[at / 64] >> (at % 64) & 1;
}

bool quic_crypto_add(struct quic_crypto *crypto, uint64_t offset, const uint8_t *data, size_t len)
{
	uint8_t *stream = crypto->record + QUIC_CRYPTO_RECORD;

	if (offset > QUIC_CRYPTO_MAX || len > QUIC_CRYPTO_MAX - offset)
		return false;
	for (size_t i = 0; i < len; i++) {
		size_t at = (size_t)offset + i;

		if (is_seen(crypto, at) && stream[at] != data[i])
			return false;
		stream[at] = data[i];
		crypto->seen[at / 64] |= 1ULL << (at % 64);
	}
	while (crypto->ready < QUIC_CRYPTO_MAX && is_seen(crypto, crypto->ready))
		crypto->ready++;
	return true;
}

enum sniff_result quic_crypto_hello(struct quic_crypto *crypto, struct tls_hello *ret)
{
	uint8_t *record = crypto->record;
	const uint8_t *hello = record + QUIC_CRYPTO_RECORD;
	size_t len;

	if (crypto->ready && hello[0] != CLIENT_HELLO)
		return SNIFF_NO;
	if (crypto->ready < HANDSHAKE_HEAD)
		return SNIFF_MORE;
	len = HANDSHAKE_HEAD + ((size_t)hello[1] << 16 | (size_t)hello[2] << 8 | hello[3]);
	if (len > QUIC_CRYPTO_MAX)
		return SNIFF_NO;
	if (crypto->ready < len)
		return SNIFF_MORE;
	record[0] = 22; /* handshake */
	record[1] = 3;
	record[2] = 1;
	record[3] = (uint8_t)(len >> 8);
	record[4] = (uint8_t)len;
	/* It is whole: to ask for more is to say no. */
	return tls_hello_parse(record, QUIC_CRYPTO_RECORD + len, ret) == SNIFF_YES ? SNIFF_YES
										   : SNIFF_NO;
}
