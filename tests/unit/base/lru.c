/* The oldest use leaves first, what has expired is gone, and the table never grows past its capacity. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include "base/lru.h"

struct item {
	struct lru_entry lru;
	unsigned key;
};

static bool matches(const struct lru_entry *entry, const void *key)
{
	return container_of(entry, const struct item, lru)->key == *(const unsigned *)key;
}

/* Few hashes, so that chains are long. */
static uint32_t hash_of(unsigned key)
{
	return key % 3;
}

static void put(struct lru *lru, unsigned key, uint64_t expires_ms)
{
	struct item *item = malloc(sizeof(*item));

	assert_non_null(item);
	*item = (struct item){ .lru = { .hash = hash_of(key), .expires_ms = expires_ms },
			       .key = key };
	lru_make_room(lru, item->lru.hash, matches, &key);
	lru_put(lru, &item->lru);
}

static bool has(struct lru *lru, unsigned key, uint64_t now_ms)
{
	const struct lru_entry *entry = lru_get(lru, hash_of(key), matches, &key, now_ms);

	if (entry)
		assert_int_equal(container_of(entry, const struct item, lru)->key, key);
	return entry;
}

static void test_order(void **state)
{
	struct lru lru;

	assert_int_equal(lru_init(&lru, 3), 0);
	for (unsigned key = 0; key < 3; key++)
		put(&lru, key, 100);
	assert_true(has(&lru, 0, 0));
	put(&lru, 3, 100); /* 1 was used least lately */
	assert_int_equal(lru.count, 3);
	assert_false(has(&lru, 1, 0));
	assert_true(has(&lru, 0, 0) && has(&lru, 2, 0) && has(&lru, 3, 0));
	put(&lru, 3, 100); /* takes its own place */
	assert_int_equal(lru.count, 3);
	assert_true(has(&lru, 0, 0) && has(&lru, 2, 0));
	lru_deinit(&lru);
	lru_deinit(&lru);
}

static void test_expiry(void **state)
{
	struct lru lru;

	assert_int_equal(lru_init(&lru, 10), 0);
	put(&lru, 1, 50);
	assert_true(has(&lru, 1, 49));
	assert_false(has(&lru, 1, 50));
	assert_int_equal(lru.count, 0);
	lru_deinit(&lru);
}

static void test_bound(void **state)
{
	struct lru lru;

	assert_int_equal(lru_init(&lru, 50), 0);
	for (unsigned i = 0; i < 5000; i++) {
		put(&lru, (unsigned)rand() % 200, 100);
		assert_true(lru.count <= 50);
	}
	assert_int_equal(lru.count, 50);
	lru_deinit(&lru);
}

static void test_no_capacity(void **state)
{
	struct lru lru;

	assert_int_equal(lru_init(&lru, 0), 0);
	assert_false(has(&lru, 1, 0));
	lru_make_room(&lru, 0, matches, &(unsigned){ 1 });
	lru_deinit(&lru);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_no_capacity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
