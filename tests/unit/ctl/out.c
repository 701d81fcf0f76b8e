/* What is put comes out, in order, however puts and eats alternate. */
#include "ctl/out.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h> /* needs setjmp.h and stdarg.h before it */

static uint32_t seed = 1;

static uint32_t next(uint32_t below)
{
	seed = seed * 1664525U + 1013904223U;
	return (seed >> 8) % below;
}

static void put(struct out *out, size_t bytes, uint8_t *counter)
{
	uint8_t data[4096];

	for (size_t i = 0; i < bytes; i++)
		data[i] = (*counter)++;
	out_put(out, data, bytes);
}

static void eat(struct out *out, size_t bytes, uint8_t *counter)
{
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal((uint8_t)out->data[out->at + i], (*counter)++);
	out_eat(out, bytes);
}

static void test_stream(void **state)
{
	struct out out = { 0 };
	uint8_t in = 0, eaten = 0;
	size_t waits = 0;

	for (int i = 0; i < 20000; i++) {
		size_t bytes = next(4096);
		/* Now and then it runs empty, now and then full */
		bool fills = i % 2000 < 1000 ? next(8) > 2 : next(8) < 2;

		if (fills) {
			put(&out, bytes, &in);
			waits += bytes;
		} else {
			bytes = bytes < waits ? bytes : waits;
			eat(&out, bytes, &eaten);
			waits -= bytes;
		}
		assert_int_equal(out_waits(&out), waits);
		assert_false(out.failed);
		assert_true(out.size < (8U << 20));
	}
	eat(&out, waits, &eaten);
	assert_true(out.size <= (64U << 10));
	out_deinit(&out);
}

static void test_cut(void **state)
{
	struct out out = { 0 };
	json_t *value = json_string("x\ny");

	out_print(&out, "%d,", 7);
	out_json(&out, value);
	out_cut(&out, 2);
	out_print(&out, "%s", "end");
	assert_int_equal(out_waits(&out), 5);
	assert_memory_equal(out.data, "7,end", 5);
	json_decref(value);
	out_deinit(&out);
}

/* Rather nothing than half of it. */
static void test_failures(void **state)
{
	struct out out = { 0 };
	char text[1000];

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	out_print(&out, "%s", text);
	assert_true(out.failed);
	out_put(&out, "x", 1);
	assert_int_equal(out_waits(&out), 0);
	out_deinit(&out);
	assert_false(out.failed);
	out_json(&out, NULL);
	assert_true(out.failed);
	out_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
