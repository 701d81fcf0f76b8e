/* hash - SipHash-2-4 (Aumasson and Bernstein, SipHash: a fast short-input PRF, 2012), for tables whose keys
 * others choose: who does not know the hash key finds no inputs that collide. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct hash_key {
	uint64_t k[2];
};

void hash_key_init(struct hash_key *key); /* random */
/* Every bit of it is as good as another. */
uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t size);
