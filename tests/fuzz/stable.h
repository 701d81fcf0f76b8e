/* stable - what holds for every sniff_fn: an answer that more bytes do not change, from checked reads. */
#pragma once
#include <stdlib.h>
#include <string.h>
#include "proto/sniff.h"

static inline bool sniff_equal(const struct sniff *a, const struct sniff *b)
{
	return a->protocol == b->protocol && !strcmp(a->domain, b->domain) &&
	       !strcmp(a->client, b->client);
}

/* Over a copy of just these bytes, so that a read past them is seen. */
static inline enum sniff_result sniff_copy(sniff_fn *sniff, const uint8_t *data, size_t len,
					   struct sniff *ret)
{
	uint8_t *copy = malloc(len ? len : 1);
	enum sniff_result result;

	if (!copy)
		abort();
	if (len)
		memcpy(copy, data, len);
	result = sniff(copy, len, ret);
	free(copy);
	return result;
}

/* Aborts unless the answers for growing prefixes agree; returns the last. @step: bytes between prefixes. */
static inline enum sniff_result sniff_stable(sniff_fn *sniff, const uint8_t *data, size_t len,
					     size_t step, struct sniff *ret)
{
	enum sniff_result before = SNIFF_MORE, result;
	struct sniff was;

	memset(&was, 0xa5, sizeof(was));
	for (size_t n = 0;; n = len - n > step ? n + step : len) {
		struct sniff now;

		memset(&now, 0xa5, sizeof(now));
		result = sniff_copy(sniff, data, n, &now);
		if (before != SNIFF_MORE && result != before)
			abort();
		if (result != SNIFF_YES && (uint32_t)now.protocol != 0xa5a5a5a5)
			abort();
		if (before == SNIFF_YES && !sniff_equal(&now, &was))
			abort();
		before = result;
		was = now;
		if (n == len)
			break;
	}
	*ret = was;
	return result;
}
