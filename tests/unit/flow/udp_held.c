/* Datagrams that wait: in order, as single ones, never more than fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "flow/udp_held.h"

static uint8_t bytes[DATAGRAM_MAX];
static struct mem_budget budget = { .limit = 64 << 20 };

static struct datagram datagram(size_t len, uint16_t segment)
{
	return (struct datagram){ .data = bytes, .len = len, .segment = segment };
}

static void assert_next(struct udp_held *held, size_t at, size_t len)
{
	struct held_datagram *next = udp_held_take(held);

	assert_non_null(next);
	assert_int_equal(next->len, len);
	assert_memory_equal(next->data, bytes + at, len);
	free(next);
}

static void a_train_is_taken_apart(void **state)
{
	const struct datagram train = datagram(2500, 1000), single = datagram(70, 0),
			      empty = datagram(0, 0);
	struct udp_held held;

	udp_held_init(&held, &budget);
	assert_int_equal(udp_held_put(&held, &train), 0);
	assert_int_equal(udp_held_put(&held, &empty), 0);
	assert_int_equal(udp_held_put(&held, &single), 0);
	assert_int_equal(held.count, 5);
	assert_int_equal(udp_held_get(&held, 2)->len, 500);
	assert_null(udp_held_get(&held, 5));
	assert_next(&held, 0, 1000);
	assert_next(&held, 1000, 1000);
	assert_next(&held, 2000, 500);
	assert_next(&held, 0, 0);
	assert_next(&held, 0, 70);
	assert_null(udp_held_take(&held));
	assert_int_equal(held.bytes, 0);
}

static void it_is_bounded(void **state)
{
	const struct datagram small = datagram(1, 0), large = datagram(DATAGRAM_MAX, 0);
	struct udp_held held;
	unsigned lost = 0;

	udp_held_init(&held, &budget);
	for (unsigned i = 0; i < UDP_HELD_MAX + 3; i++)
		lost += udp_held_put(&held, &small);
	assert_int_equal(lost, 3);
	assert_true(udp_held_is_full(&held));
	udp_held_deinit(&held);
	for (lost = 0; lost == 0 && held.count < UDP_HELD_MAX;)
		lost = udp_held_put(&held, &large);
	assert_int_equal(held.count, UDP_HELD_MAX_BYTES / DATAGRAM_MAX);
	udp_held_deinit(&held);
	assert_int_equal(held.count, 0);
	assert_int_equal(budget.used, 0);
	budget.used = budget.limit - 1;
	assert_int_equal(udp_held_put(&held, &small), 0);
	assert_int_equal(udp_held_put(&held, &small), 1);
	udp_held_deinit(&held);
	budget.used = 0;
}

static void what_is_put_back_comes_last(void **state)
{
	const struct datagram one = datagram(1, 0), two = datagram(2, 0);
	struct udp_held held, others;

	udp_held_init(&held, &budget);
	udp_held_init(&others, &budget);
	udp_held_put(&held, &one);
	udp_held_put(&held, &two);
	udp_held_add(&others, udp_held_take(&held));
	udp_held_add(&others, udp_held_take(&held));
	assert_int_equal(others.bytes, 3);
	assert_next(&others, 0, 1);
	assert_next(&others, 0, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_train_is_taken_apart),
		cmocka_unit_test(it_is_bounded),
		cmocka_unit_test(what_is_put_back_comes_last),
	};

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 >> 3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
