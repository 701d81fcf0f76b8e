/* datagram_kit - datagrams to a sniffer, each in a buffer of its size, so that a read too far is
 * seen. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/clock.h"
#include "base/names.h"
#include "proto/sniff.h"

#define CORPUS     TEST_DATA "/../../fuzz/corpus/"
#define CORPUS_MAX 8192
#define FAST_MS    20000 /* for all mutants of a test, with sanitizers on a slow machine */

static inline enum sniff_result feed_to(struct sniff_datagrams **state, const void *data,
					size_t len, uint32_t protocols, struct sniff *ret)
{
	static const struct sniff untouched = { .protocol = PROTOCOL_COUNT };
	uint8_t *copy = malloc(len ? len : 1);
	struct sniff sniff = untouched;
	enum sniff_result result;

	assert_non_null(copy);
	memcpy(copy, data, len);
	result = sniff_datagram(state, len ? copy : NULL, len, protocols, &sniff);
	free(copy);
	if (result == SNIFF_YES)
		assert_true(sniff.protocol > PROTOCOL_UNKNOWN && sniff.protocol < PROTOCOL_COUNT);
	else
		assert_memory_equal(&sniff, &untouched, sizeof(sniff));
	if (ret)
		*ret = sniff;
	return result;
}

/* Alone: state is kept for SNIFF_MORE only. */
static inline enum sniff_result feed(const void *data, size_t len, uint32_t protocols,
				     struct sniff *ret)
{
	struct sniff_datagrams *state = NULL;
	enum sniff_result result = feed_to(&state, data, len, protocols, ret);

	assert_int_equal(state != NULL, result == SNIFF_MORE);
	sniff_datagrams_free(state);
	return result;
}

/* Blanks are skipped, "*N" repeats the byte before N times more. */
static inline size_t from_hex(const char *hex, uint8_t *ret)
{
	uint8_t last = 0;
	size_t len = 0;

	while (*hex) {
		char *end, digits[3] = { hex[0], hex[0] ? hex[1] : '\0', '\0' };

		if (*hex == ' ') {
			hex++;
		} else if (*hex == '*') {
			size_t count = strtoul(hex + 1, &end, 10);

			memset(ret + len, last, count);
			len += count;
			hex = end;
		} else {
			last = (uint8_t)strtoul(digits, &end, 16);
			ret[len++] = last;
			assert_ptr_equal(end, digits + 2);
			hex += 2;
		}
	}
	return len;
}

static inline size_t read_corpus(const char *name, uint8_t ret[CORPUS_MAX])
{
	char path[512];
	size_t len;
	FILE *file;

	snprintf(path, sizeof(path), CORPUS "%s", name);
	file = fopen(path, "re");
	if (!file)
		fail_msg("%s is not there", path);
	len = fread(ret, 1, CORPUS_MAX, file);
	fclose(file);
	assert_in_range(len, 1, CORPUS_MAX - 1);
	return len;
}
