/* keywords - strings that may be anywhere in a name. Pairs of characters rule most of them out. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUTE_PAIRS 1024 /* hashes of two characters */

struct route_keyword {
	const char *text;
	uint32_t length;
	uint16_t first, last; /* hashes of its first and its last pair; ROUTE_PAIRS: has none */
};

struct route_pairs {
	const char *name;
	size_t length;
	uint64_t seen[ROUTE_PAIRS / 64 + 1]; /* the bit after the last pair is set */
};

struct route_keyword route_keyword_of(const char *text);
void route_pairs_init(struct route_pairs *pairs, const char *name);
bool route_keywords_hold(const struct route_keyword *list, size_t count,
			 const struct route_pairs *pairs);
