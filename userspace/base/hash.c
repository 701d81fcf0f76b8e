#include "base/hash.h"
#include <endian.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

void hash_key_init(struct hash_key *key)
{
	if (getrandom(key, sizeof(*key), GRND_NONBLOCK) == (ssize_t)sizeof(*key))
		return;
	/* Early at boot: the 16 bytes that the kernel gives to each process (getauxval(3)). */
	memcpy(key, (const void *)getauxval(AT_RANDOM), sizeof(*key));
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void sip_rounds(uint64_t v[4], unsigned count)
{
	while (count--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	sip_rounds(v, 2);
	v[0] ^= word;
}

/* @size < 8 bytes more, and the low byte of the length on top. */
static uint64_t last_word(const unsigned char *from, size_t size, size_t length)
{
	uint64_t word = (uint64_t)length << 56;

	for (size_t i = 0; i < size; i++)
		word |= (uint64_t)from[i] << 8 * i;
	return word;
}

uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t size)
{
	uint64_t v[4] = { key->k[0] ^ 0x736f6d6570736575U, key->k[1] ^ 0x646f72616e646f6dU,
			  key->k[0] ^ 0x6c7967656e657261U, key->k[1] ^ 0x7465646279746573U };
	const unsigned char *from = bytes;
	size_t left = size;

	for (; left >= sizeof(uint64_t); left -= sizeof(uint64_t), from += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, from, sizeof(word));
		sip_word(v, le64toh(word));
	}
	sip_word(v, last_word(from, left, size));
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
