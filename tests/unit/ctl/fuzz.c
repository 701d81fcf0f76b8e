/* Mutated requests, always the same ones: each line is answered by one line, and the server lives. */
#include "base/log.h"
#include "base/names.h"
#include "kit.h"

#define ROUNDS    10000
#define BYTES_MAX 512U

static const char *const seeds[] = {
	"{\"v\":1,\"cmd\":\"status\"}",
	"{\"v\":1,\"id\":7,\"cmd\":\"flows list\",\"method\":\"copy\",\"source\":\"10.0.0.1\"}",
	"{\"v\":1,\"cmd\":\"flows list\",\"destination\":\"fe80::1\",\"outbound\":\"direct\"}",
	"{\"v\":1,\"cmd\":\"flows kill\",\"flow\":12345678901}",
	"{\"v\":1,\"cmd\":\"metrics\"}",
	"{\"v\":1,\"cmd\":\"log\",\"level\":\"error\"}",
	"{\"v\":1,\"cmd\":\"version\"}",
	"{\"v\":1,\"cmd\":\"help\"}",
	"{\"v\":1,\"cmd\":\"\\u00e4\\ud83d\\ude00\\n\",\"a\":[{\"b\":null},-1e308,true]}",
};

static uint64_t seed = 0x5eed;

static uint32_t next(uint32_t below) /* xorshift64* */
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (uint32_t)((seed * 0x2545f4914f6cdd1dU) >> 33) % below;
}

static size_t put_at(char *text, size_t bytes, size_t at, const char *piece, size_t piece_bytes)
{
	if (bytes + piece_bytes > BYTES_MAX)
		return bytes;
	memmove(text + at + piece_bytes, text + at, bytes - at);
	memcpy(text + at, piece, piece_bytes);
	return bytes + piece_bytes;
}

static size_t mutate(char *text, size_t bytes)
{
	static const char *const pieces[] = { "\"", "\\",   "{",       "}",    "[[[[[[[[", ",",
					      ":",  "null", "\\u0000", "\xff", "\xc2\x9b", "1e999",
					      "-0", "\n",   "\\ud800", "//",   "\"v\":1," };
	size_t at = next((uint32_t)bytes + 1), count;
	const char *piece = pieces[next(ARRAY_SIZE(pieces))];
	char byte = (char)next(256);

	switch (next(5)) {
	case 0:
		return put_at(text, bytes, at, piece, strlen(piece));
	case 1:
		return put_at(text, bytes, at, &byte, 1);
	case 2: /* a range is lost */
		count = next((uint32_t)(bytes - at) + 1) % 8;
		memmove(text + at, text + at + count, bytes - at - count);
		return bytes - count;
	case 3: /* a range is doubled */
		count = next((uint32_t)(bytes - at) + 1) % 32;
		{
			char copy[32];

			memcpy(copy, text + at, count);
			return put_at(text, bytes, at, copy, count);
		}
	default:
		if (at < bytes)
			text[at] = (char)(text[at] ^ (1 << next(8)));
		return bytes;
	}
}

static unsigned count_lines(const char *text, size_t bytes)
{
	unsigned count = 0;

	for (size_t i = 0; i < bytes; i++)
		count += text[i] == '\n';
	return count;
}

static unsigned accepted, refused;

static void expect_answer(struct kit *kit, int fd)
{
	json_t *answer = kit_receive(kit, fd), *ok = json_object_get(answer, "ok");

	assert_true(json_is_boolean(ok));
	assert_non_null(json_object_get(answer, json_is_true(ok) ? "data" : "error"));
	accepted += json_is_true(ok);
	refused += json_is_false(ok);
	json_decref(answer);
}

static void test_mutations(void **state)
{
	struct kit kit;
	char text[BYTES_MAX + 1];
	int fd;

	log_set_level(LOG_ERROR);
	kit_open(&kit, NULL, 0);
	kit_serve(&kit);
	fd = kit_connect(&kit);
	for (int i = 0; i < ROUNDS; i++) {
		const char *from = seeds[next(ARRAY_SIZE(seeds))];
		size_t bytes = strlen(from);

		memcpy(text, from, bytes);
		for (uint32_t n = next(6); n; n--)
			bytes = mutate(text, bytes);
		text[bytes++] = '\n';
		assert_int_equal(kit_send(&kit, fd, text, bytes), 0);
		for (unsigned lines = count_lines(text, bytes); lines; lines--)
			expect_answer(&kit, fd);
	}
	print_message("%u accepted, %u refused\n", accepted, refused);
	assert_true(accepted > ROUNDS / 20 && refused > ROUNDS / 2);
	close(fd);
	kit_close(&kit);
}

static unsigned fail_in; /* allocations of jansson, 0: none fails */

static void *scarce_malloc(size_t bytes)
{
	return fail_in && --fail_in == 0 ? NULL : malloc(bytes);
}

/* One allocation of JSON fails, the first, the second and so on: there is an answer, or the connection
 * ends. Returns whether it came to that. */
static bool ask_with_failure(struct kit *kit, const char *request, unsigned fail_at)
{
	int fd = kit_connect(kit);
	json_t *answer;
	bool failed;

	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	assert_int_equal(send(fd, "\n", 1, MSG_NOSIGNAL), 1);
	fail_in = fail_at;
	for (int i = 0; i < 6; i++)
		assert_int_equal(loop_run_once(&kit->loop, 0), 0);
	failed = fail_in == 0;
	fail_in = 0;
	answer = kit_receive(kit, fd);
	if (!failed)
		assert_non_null(answer);
	if (answer)
		assert_true(json_is_boolean(json_object_get(answer, "ok")));
	json_decref(answer);
	close(fd);
	kit_turn(kit);
	return failed;
}

static void test_no_memory(void **state)
{
	unsigned failures = 0;
	struct kit kit;

	log_set_level(LOG_ERROR);
	kit_open(&kit, NULL, 0);
	kit_serve(&kit);
	json_set_alloc_funcs(scarce_malloc, free);
	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++)
		for (unsigned n = 1; ask_with_failure(&kit, seeds[i], n); n++)
			failures++;
	json_set_alloc_funcs(malloc, free);
	kit_close(&kit);
	assert_true(failures > 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_mutations),
					    cmocka_unit_test(test_no_memory) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
