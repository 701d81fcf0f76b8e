/* The ring, against arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/list.h"

struct item {
	int id;
	struct list link;
};

static struct item *make(int id)
{
	struct item *item = malloc(sizeof(*item));

	assert_non_null(item);
	item->id = id;
	list_init(&item->link);
	return item;
}

/* The ids on @head are @ids, up to a negative one, in both directions. */
static void check(const struct list *head, const int *ids)
{
	const struct list *at = head->next;
	size_t count = 0;

	for (; ids[count] >= 0; count++, at = at->next) {
		assert_ptr_not_equal(at, head);
		assert_int_equal(container_of(at, struct item, link)->id, ids[count]);
	}
	assert_ptr_equal(at, head);
	for (at = head->prev; count--; at = at->prev)
		assert_int_equal(container_of(at, struct item, link)->id, ids[count]);
	assert_ptr_equal(at, head);
}

#define CHECK(head, ...)  check(head, (const int[]){ __VA_ARGS__, -1 })
#define CHECK_EMPTY(head) check(head, (const int[]){ -1 })

static void drop_all(struct list *head)
{
	list_for_each_safe (link, head) {
		struct item *item = container_of(link, struct item, link);

		list_unlink(link);
		assert_false(list_linked(link));
		free(item);
	}
	CHECK_EMPTY(head);
}

static void test_order(void **state)
{
	struct list head = LIST_INIT(head);
	struct item *two = make(2);

	assert_true(list_empty(&head));
	assert_false(list_linked(&two->link));
	list_append(&head, &two->link);
	assert_true(list_linked(&two->link));
	list_append(&head, &make(3)->link);
	list_prepend(&head, &make(1)->link);
	assert_false(list_empty(&head));
	CHECK(&head, 1, 2, 3);
	list_unlink(&two->link);
	CHECK(&head, 1, 3);
	list_unlink(&two->link); /* unlinked already: nothing happens */
	CHECK(&head, 1, 3);
	list_append(&head, &two->link);
	CHECK(&head, 1, 3, 2);
	drop_all(&head);
}

static void test_splice(void **state)
{
	struct list to = LIST_INIT(to), from = LIST_INIT(from);

	list_splice(&to, &from);
	CHECK_EMPTY(&to);
	list_append(&from, &make(1)->link);
	list_append(&from, &make(2)->link);
	list_splice(&to, &from);
	CHECK(&to, 1, 2);
	CHECK_EMPTY(&from);
	list_append(&from, &make(3)->link);
	list_splice(&to, &from);
	CHECK(&to, 1, 2, 3);
	CHECK_EMPTY(&from);
	list_splice(&to, &from);
	CHECK(&to, 1, 2, 3);
	drop_all(&to);
}

static void test_walk(void **state)
{
	struct list head = LIST_INIT(head);
	int expected = 0;

	for (int id = 0; id < 10; id++)
		list_append(&head, &make(id)->link);
	list_for_each (link, &head)
		assert_int_equal(container_of(link, struct item, link)->id, expected++);
	assert_int_equal(expected, 10);
	list_for_each_safe (link, &head) {
		struct item *item = container_of(link, struct item, link);

		if (item->id % 2)
			continue;
		list_unlink(link);
		free(item);
	}
	CHECK(&head, 1, 3, 5, 7, 9);
	drop_all(&head);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_splice),
		cmocka_unit_test(test_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
