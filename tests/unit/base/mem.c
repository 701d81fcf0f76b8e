/* Pools and budgets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/mem.h"

#define OBJECTS 1000
#define SIZE    37

static void test_objects_are_zeroed_and_apart(void **state)
{
	static const uint8_t zero[SIZE];
	uint8_t *object[OBJECTS];
	struct mem_pool pool;
	size_t chunks = 0;

	mem_pool_init(&pool, SIZE);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < OBJECTS; i++) {
			object[i] = mem_pool_get(&pool);
			assert_non_null(object[i]);
			assert_memory_equal(object[i], zero, SIZE);
			assert_int_equal((uintptr_t)object[i] % _Alignof(max_align_t), 0);
			memset(object[i], i | 1, SIZE);
		}
		assert_int_equal(pool.used, OBJECTS);
		if (round) /* what was put back is enough */
			assert_int_equal(pool.chunks, chunks);
		chunks = pool.chunks;
		for (int i = 0; i < OBJECTS; i++) {
			for (int b = 0; b < SIZE; b++)
				assert_int_equal(object[i][b], (uint8_t)(i | 1));
			mem_pool_put(&pool, object[i]);
		}
		assert_int_equal(pool.used, 0);
	}
	mem_pool_deinit(&pool);
}

static void test_empty_chunks_go_back(void **state)
{
	static uint8_t *object[8 * OBJECTS];
	struct mem_pool pool;
	size_t most;

	mem_pool_init(&pool, SIZE);
	for (size_t i = 0; i < 8 * OBJECTS; i++)
		object[i] = mem_pool_get(&pool);
	most = pool.chunks;
	if (!most)
		skip(); /* each object is an allocation of its own, for AddressSanitizer */
	assert_true(most > 2);
	for (size_t i = 1; i < 8 * OBJECTS; i++)
		mem_pool_put(&pool, object[i]);
	assert_int_equal(pool.chunks, 1);
	for (size_t i = 1; i < 8 * OBJECTS; i++)
		object[i] = mem_pool_get(&pool);
	assert_int_equal(pool.chunks, most);
	for (size_t i = 0; i < 8 * OBJECTS; i++)
		mem_pool_put(&pool, object[i]);
	assert_int_equal(pool.chunks, 1);
	mem_pool_deinit(&pool);
	assert_int_equal(pool.chunks, 0);
}

static void test_random_use(void **state)
{
	uint64_t *object[OBJECTS] = { 0 };
	struct mem_pool pool;
	size_t used = 0;

	srand(7);
	mem_pool_init(&pool, sizeof(**object));
	for (int step = 0; step < 100 * OBJECTS; step++) {
		int i = rand() % OBJECTS;

		if (object[i]) {
			assert_int_equal(*object[i], i);
			mem_pool_put(&pool, object[i]);
			object[i] = NULL;
			used--;
		} else {
			object[i] = mem_pool_get(&pool);
			*object[i] = (uint64_t)i;
			used++;
		}
		assert_int_equal(pool.used, used);
	}
	for (int i = 0; i < OBJECTS; i++)
		if (object[i])
			mem_pool_put(&pool, object[i]);
	mem_pool_deinit(&pool);
	mem_pool_deinit(&pool);
}

static void test_budget(void **state)
{
	struct mem_budget budget = { .limit = 100 };

	assert_true(mem_budget_take(&budget, 60));
	assert_false(mem_budget_take(&budget, 41));
	assert_int_equal(budget.used, 60);
	assert_true(mem_budget_take(&budget, 40));
	assert_true(mem_budget_take(&budget, 0));
	assert_false(mem_budget_take(&budget, 1));
	mem_budget_give(&budget, 100);
	assert_int_equal(budget.used, 0);
	assert_false(mem_budget_take(&budget, UINT64_MAX));
	budget.limit = UINT64_MAX;
	assert_true(mem_budget_take(&budget, UINT64_MAX));
	assert_false(mem_budget_take(&budget, 1));
}

/* A reload may lower the limit, and a relay holds what it has read, whatever the budget says. */
static void test_budget_overdrawn(void **state)
{
	struct mem_budget budget = { .limit = 100, .used = 101 };

	assert_false(mem_budget_take(&budget, 1));
	assert_false(mem_budget_take(&budget, UINT64_MAX));
	mem_budget_give(&budget, 2);
	assert_true(mem_budget_take(&budget, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects_are_zeroed_and_apart),
		cmocka_unit_test(test_empty_chunks_go_back),
		cmocka_unit_test(test_random_use),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_budget_overdrawn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
