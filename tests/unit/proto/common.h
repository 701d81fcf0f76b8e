/* common - answers for every prefix of an input, each in a buffer of just its size, for the tests of proto.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/names.h"
#include "proto/sniff.h"

/* A string with NUL bytes in it. */
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static inline void put_text(uint8_t *to, const char *text)
{
	while (*text)
		*to++ = (uint8_t)*text++;
}

static inline enum sniff_result sniff_exact(sniff_fn *sniff, const uint8_t *data, size_t len,
					    struct sniff *ret)
{
	uint8_t *copy = test_malloc(len ? len : 1);
	enum sniff_result result;

	if (len)
		memcpy(copy, data, len);
	result = sniff(len ? copy : NULL, len, ret);
	test_free(copy);
	return result;
}

/* SNIFF_MORE before @needs bytes; from there on @want, always with the same words. */
static inline void assert_sniffs(sniff_fn *sniff, const uint8_t *data, size_t len, size_t needs,
				 enum sniff_result want, struct sniff *ret)
{
	assert_true(needs <= len);
	for (size_t n = 0; n <= len; n++) {
		struct sniff now = { 0 };
		enum sniff_result result = sniff_exact(sniff, data, n, &now);

		if (result != (n < needs ? SNIFF_MORE : want))
			fail_msg("%d with %zu of %zu bytes", result, n, len);
		if (n == needs)
			*ret = now;
		assert_true(n < needs || now.protocol == ret->protocol);
		assert_true(n < needs || !strcmp(now.domain, ret->domain));
		assert_true(n < needs || !strcmp(now.client, ret->client));
	}
}
