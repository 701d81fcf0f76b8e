/* codec - a codec told every way its answer can be cut: at each place, and byte by byte. */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../fuzz/talk.h"
#include "base/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* of ../../fuzz/ */

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static inline struct addr address(const char *text, uint16_t port)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, port, &addr), 0);
	return addr;
}

static inline struct handshake_target to_addr(const char *text, uint16_t port)
{
	return (struct handshake_target){ .addr = address(text, port) };
}

static inline struct handshake_target to_name(const char *name, uint16_t port)
{
	return (struct handshake_target){ .domain = name, .addr.port = port };
}

/* One conversation. */
struct codec {
	const struct handshake_ops *ops;
	struct handshake_target target;
	struct handshake_config config;
};

static inline int begin(const struct codec *codec, void **ret_state)
{
	void *state = malloc(codec->ops->state_size);
	int r;

	assert_non_null(state);
	memset(state, 0xa5, codec->ops->state_size); /* init sets all of it */
	r = codec->ops->init(state, &codec->target, &codec->config);
	if (r)
		free(state);
	else
		*ret_state = state;
	return r;
}

static inline struct talk hear(const struct codec *codec, const uint8_t *data, size_t len,
			       size_t first, size_t chunk)
{
	void *state = NULL;
	struct talk talk;

	assert_int_equal(begin(codec, &state), 0);
	talk = talk_to(codec->ops->step, state, data, len, first, chunk);
	free(state);
	return talk;
}

/* Every cut comes to the same, which is returned. A beginning of @data is as far, or waits for more. */
static inline struct talk every_way(const struct codec *codec, const uint8_t *data, size_t len)
{
	struct talk whole = hear(codec, data, len, len, len), part;

	for (size_t cut = 0; cut <= len; cut++) {
		part = hear(codec, data, len, cut, len);
		assert_true(talk_same(&whole, &part));
		part = hear(codec, data, len, cut, 1);
		assert_true(talk_same(&whole, &part));
		part = hear(codec, data, cut, 0, 1);
		if (part.result == HANDSHAKE_MORE)
			assert_true(part.said_len <= whole.said_len &&
				    !memcmp(part.said, whole.said, part.said_len));
		else
			assert_true(talk_same(&whole, &part));
	}
	return whole;
}

/* Done after @taken bytes of the answer, and @said all in all. */
static inline void expect_done(const struct codec *codec, const uint8_t *data, size_t len,
			       size_t taken, const uint8_t *said, size_t said_len)
{
	struct talk talk = every_way(codec, data, len);

	assert_int_equal(talk.result, HANDSHAKE_DONE);
	assert_int_equal(talk.taken, taken);
	assert_int_equal(talk.said_len, said_len);
	assert_memory_equal(talk.said, said, said_len);
	for (size_t cut = 0; cut < taken; cut++)
		assert_int_equal(hear(codec, data, cut, cut, 1).result, HANDSHAKE_MORE);
}

static inline void expect_no(const struct codec *codec, const uint8_t *data, size_t len,
			     enum handshake_result result, int err, const char *why)
{
	struct talk talk = every_way(codec, data, len);

	assert_int_equal(talk.result, result);
	assert_int_equal(talk.err, err);
	assert_string_equal(talk.why, why);
}

static inline void expect_init(const struct codec *codec, int err)
{
	void *state = NULL;
	int r = begin(codec, &state);

	free(state);
	assert_int_equal(r, err);
}

/* What the fuzzers have found, and what they start from. */
static inline void replay(const char *target, int (*one)(const uint8_t *data, size_t size))
{
	char path[512];
	DIR *dir;
	const struct dirent *entry;
	unsigned count = 0;

	snprintf(path, sizeof(path), TEST_DATA "/../../fuzz/corpus/%s", target);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char file[1024];
		uint8_t buf[16384], *exact;
		size_t len;
		FILE *in;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		in = fopen(file, "re");
		assert_non_null(in);
		len = fread(buf, 1, sizeof(buf), in);
		(void)fclose(in);
		exact = malloc(len ? len : 1);
		assert_non_null(exact);
		memcpy(exact, buf, len);
		assert_int_equal(one(exact, len), 0);
		free(exact);
		count++;
	}
	closedir(dir);
	assert_true(count > 4);
}
