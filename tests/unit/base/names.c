/* Words of tables, and the nearest one to a word that is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "base/names.h"

static const char *const words[] = { "auto", NULL, "sockmap", "splice", "copy", "listen_port" };

static void test_find(void **state)
{
	assert_int_equal(names_find(words, ARRAY_SIZE(words), "auto"), 0);
	assert_int_equal(names_find(words, ARRAY_SIZE(words), "copy"), 4);
	assert_int_equal(names_find(words, ARRAY_SIZE(words), "Copy"), -1);
	assert_int_equal(names_find(words, ARRAY_SIZE(words), ""), -1);
	assert_int_equal(names_find(words, 0, "auto"), -1);
}

static void test_near(void **state)
{
	static const struct {
		const char *word, *near;
	} samples[] = {
		{ "sockmap", "sockmap" },
		{ "sokcmap", "sockmap" },
		{ "sockma", "sockmap" },
		{ "sockmapp", "sockmap" },
		{ "spice", "splice" },
		{ "cpoy", "copy" },
		{ "listenport", "listen_port" },
		{ "listen-prot", "listen_port" },
		{ "wholly different", NULL },
		{ "x", NULL },
		{ "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const char *near = names_near(words, ARRAY_SIZE(words), samples[i].word);

		if (!near != !samples[i].near || (near && strcmp(near, samples[i].near) != 0))
			fail_msg("\"%s\": %s", samples[i].word, near ? near : "none");
	}
}

static void test_near_takes_the_first_of_equals(void **state)
{
	static const char *const twins[] = { "cat", "car" };

	assert_string_equal(names_near(twins, 2, "cab"), "cat");
	assert_string_equal(names_near(twins, 2, "car"), "car");
}

static void test_swapped_neighbours_are_one_step(void **state)
{
	static const char *const two[] = { "cbd", "bac" };

	assert_string_equal(names_near(two, 2, "abc"), "bac");
}

static void test_long_words(void **state)
{
	char longer[400];

	memset(longer, 's', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_null(names_near(words, ARRAY_SIZE(words), longer));
	longer[65] = 0;
	assert_null(names_near(words, ARRAY_SIZE(words), longer));
	longer[64] = 0;
	assert_null(names_near(words, ARRAY_SIZE(words), longer));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_near),
		cmocka_unit_test(test_near_takes_the_first_of_equals),
		cmocka_unit_test(test_swapped_neighbours_are_one_step),
		cmocka_unit_test(test_long_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
