/* A group is not there: a dial goes to the member of the moment, and one that has begun stays with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <cmocka.h>
#include "dial/group.h"

struct member {
	struct dialer base;
	unsigned started, cancelled;
};

static struct member *of(const struct dial *dial)
{
	return container_of((struct dialer *)dial->dialer, struct member, base);
}

static int member_start(struct dial *dial)
{
	of(dial)->started++;
	return 0;
}

static void member_cancel(struct dial *dial, bool reset)
{
	of(dial)->cancelled++;
}

static const struct dialer_ops member_ops = {
	.name = "member",
	.dial_size = sizeof(struct dial),
	.start = member_start,
	.cancel = member_cancel,
};

static struct group_dialer *new_group(const struct dialer *first, const struct dialer *second)
{
	struct group_dialer *group = calloc(1, sizeof(*group));

	assert_non_null(group);
	group->base.ops = &dial_group_ops;
	group->members = calloc(2, sizeof(const struct dialer *));
	assert_non_null(group->members);
	group->members[0] = first;
	group->members[1] = second;
	group->count = 2;
	return group;
}

static struct dial *start(const struct dialer *dialer)
{
	const struct dial_request request = { .target.domain = "a.test" };
	struct dial *dial = NULL;
	const char *call;

	assert_int_equal(dial_start(&dial, dialer, &request, &call), 0);
	return dial;
}

static void test_group(void **state)
{
	struct member a = { .base.ops = &member_ops }, b = a;
	struct group_dialer *inner = new_group(&a.base, &b.base);
	struct group_dialer *outer = new_group(&a.base, &inner->base);
	struct dial *first = start(&outer->base), *second;

	assert_int_equal(a.started, 1);
	group_select(outer, 1);
	group_select(inner, 1);
	second = start(&outer->base);
	assert_int_equal(a.started, 1);
	assert_int_equal(b.started, 1);
	group_select(outer, 0);
	dial_cancel(second, false);
	assert_int_equal(b.cancelled, 1);
	dial_cancel(first, false);
	assert_int_equal(a.cancelled, 1);
	outer->base.ops->free(&outer->base);
	inner->base.ops->free(&inner->base);
}

/* Datagrams are use as well. */
static void test_used(void **state)
{
	struct member a = { .base.ops = &member_ops };
	struct group_dialer *group = new_group(&a.base, &a.base);
	struct loop loop = { .now_ms = 5000 };
	struct dial_env env = { .loop = &loop };
	struct dial_request request = { .env = &env, .target.domain = "a.test" };
	const char *call;

	group->used_ms = calloc(1, sizeof(*group->used_ms));
	assert_non_null(group->used_ms);
	for (int i = 0; i < 2; i++, loop.now_ms += 5000) {
		struct dial *dial = NULL;

		request.type = i ? SOCK_DGRAM : SOCK_STREAM;
		assert_int_equal(dial_start(&dial, &group->base, &request, &call), 0);
		assert_int_equal(group_used_ms(group), loop.now_ms);
		dial_cancel(dial, false);
	}
	group->base.ops->free(&group->base);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_group),
					    cmocka_unit_test(test_used) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
