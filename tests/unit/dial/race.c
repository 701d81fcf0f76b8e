/* What a race does with questions and children, on a clock of its own: nothing here waits. */
#include "base/cleanup.h"
#include "base/names.h"
#include "race_rig.h"

static void fail_all(enum dns_type type, int err)
{
	for (int i = 0; i < 3; i++)
		rig->fate[type][i] = (struct fate){ .after_ms = 20, .err = err };
}

static void hang_all(enum dns_type type)
{
	for (int i = 0; i < 3; i++)
		rig->fate[type][i].after_ms = HANGS;
}

static void test_first_wins(void **state)
{
	run();
	assert_int_equal(rig->result.err, 0);
	assert_true(rig->result.owes_write);
	assert_true(rig->io.loop);
	assert_string_equal(rig->starts, "6.1@10 ");
	assert_string_equal(rig->resolver.order, "64"); /* AAAA first */
	assert_int_equal(rig->finished, 1);
	assert_int_equal(rig->cancelled, 0);
}

static void test_losers_are_reset(void **state)
{
	hang_all(DNS_AAAA);
	rig->fate[DNS_A][0].after_ms = 600;
	run();
	assert_int_equal(rig->result.err, 0);
	assert_string_equal(rig->starts, "6.1@10 4.1@310 6.2@560 4.2@810 ");
	assert_int_equal(rig->cancelled, 3); /* 4.2 has won */
	assert_int_equal(rig->reset, 3);
	assert_int_equal(rig->finished, 1);
}

static void test_io_not_taken_is_closed(void **state)
{
	rig->leave_io = true;
	run();
	assert_int_equal(rig->loop.io_count, 0);
}

static void test_one_family(void **state)
{
	fail_all(DNS_A, -ECONNREFUSED);
	rig->race->strategy = STRATEGY_IPV4_ONLY;
	run();
	assert_string_equal(rig->resolver.order, "4");
	assert_string_equal(rig->starts, "4.1@10 4.2@30 ");
	assert_int_equal(rig->result.err, -ECONNREFUSED);
	assert_null(rig->result.io);
}

static void test_serial(void **state)
{
	rig->race->serial = true;
	for (int i = 0; i < 2; i++)
		rig->fate[DNS_AAAA][i] = (struct fate){ .after_ms = 5000, .err = -ETIMEDOUT };
	run();
	assert_string_equal(rig->starts, "6.1@10 4.1@5010 ");
}

static void test_resolution_delay(void **state)
{
	rig->resolver.script[DNS_AAAA].delay_ms = 100;
	hang_all(DNS_A);
	run();
	assert_string_equal(rig->starts, "4.1@60 6.1@310 ");
	assert_string_equal(rig->traced, "AAAA@0 A@0 A=0,ok@10 AAAA=0,ok@100 ");
}

static void test_question_is_lost(void **state)
{
	rig->resolver.script[DNS_AAAA].delay_ms = 5000;
	run();
	assert_string_equal(rig->starts, "4.1@60 ");
	assert_string_equal(rig->traced, "AAAA@0 A@0 A=0,ok@10 AAAA=-125,-@80 ");
}

static void test_cached(void **state)
{
	const char *call;

	rig->resolver.script[DNS_A].delay_ms = rig->resolver.script[DNS_AAAA].delay_ms = 0;
	assert_int_equal(start(&call), 0);
	assert_string_equal(rig->starts, "6.1@0 "); /* at once, but the end is later */
	assert_int_equal(rig->done, 0);
	assert_string_equal(rig->traced, "AAAA@0 AAAA=0,ok@0 A@0 A=0,ok@0 ");
	pass(20);
	assert_int_equal(rig->done, 1);
}

/* What the whole dial says, by what its parts said. */
static const struct {
	enum domain_strategy strategy;
	enum dns_status a, aaaa;
	int err4, err6, err;
	const char *call;
} failures[] = {
	{ STRATEGY_PREFER_IPV6, DNS_OK, DNS_OK, -ECONNREFUSED, -EPIPE, -EPIPE, "connect" },
	{ STRATEGY_PREFER_IPV4, DNS_OK, DNS_OK, -ECONNREFUSED, -EPIPE, -ECONNREFUSED, "connect" },
	{ STRATEGY_PREFER_IPV6, DNS_OK, DNS_NO_NAME, -EPIPE, 0, -EPIPE, "connect" },
	{ STRATEGY_PREFER_IPV6, DNS_NO_NAME, DNS_NO_NAME, 0, 0, -ENOENT, "resolve" },
	{ STRATEGY_PREFER_IPV6, DNS_SERVFAIL, DNS_NO_DATA, 0, 0, -EREMOTEIO, "resolve" },
	{ STRATEGY_PREFER_IPV4, DNS_TIMEOUT, DNS_SERVFAIL, 0, 0, -ETIMEDOUT, "resolve" },
	{ STRATEGY_IPV6_ONLY, DNS_OK, DNS_NO_SOCKET, 0, 0, -ENETUNREACH, "resolve" },
};

static struct fake_answer answer_of(enum dns_status status)
{
	return (struct fake_answer){ .delay_ms = 10, .status = status, .count = status ? 0 : 2 };
}

static void test_errors(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		rig->race->strategy = failures[i].strategy;
		rig->resolver.script[DNS_A] = answer_of(failures[i].a);
		rig->resolver.script[DNS_AAAA] = answer_of(failures[i].aaaa);
		fail_all(DNS_A, failures[i].err4);
		fail_all(DNS_AAAA, failures[i].err6);
		rig->done = 0;
		run();
		assert_int_equal(rig->result.err, failures[i].err);
		assert_string_equal(rig->result.call, failures[i].call);
		assert_null(rig->result.io);
	}
}

static void test_every_dns_status_is_an_error(void **state)
{
	for (int status = DNS_OK + 1; status < DNS_STATUS_COUNT; status++) {
		for (int type = 0; type < DNS_TYPE_COUNT; type++)
			rig->resolver.script[type] = answer_of((enum dns_status)status);
		rig->done = 0;
		run();
		assert_true(rig->result.err < 0);
	}
}

static void expect_no_start(int err, const char *call)
{
	const char *got;

	assert_int_equal(start(&got), err);
	assert_string_equal(got, call);
	assert_true(timer_wheel_empty(&rig->loop.timers));
	assert_int_equal(rig->open_entries, 0);
	pass(AGES);
	assert_int_equal(rig->done, 0);
}

static void test_no_resolver(void **state)
{
	rig->env.resolver = NULL;
	expect_no_start(-EADDRNOTAVAIL, "resolve");
}

static void test_no_name_at_once(void **state)
{
	for (int type = 0; type < DNS_TYPE_COUNT; type++)
		rig->resolver.script[type] = (struct fake_answer){ .status = DNS_NO_NAME };
	expect_no_start(-ENOENT, "resolve");
}

static void test_no_question_at_all(void **state)
{
	rig->resolver.script[DNS_A].refuse = rig->resolver.script[DNS_AAAA].refuse = -ENOMEM;
	expect_no_start(-ENOMEM, "resolve");
	assert_string_equal(rig->traced, "AAAA@0 AAAA=-12,resolve@0 A@0 A=-12,resolve@0 ");
}

static void test_no_child_starts(void **state)
{
	for (int type = 0; type < DNS_TYPE_COUNT; type++) {
		rig->resolver.script[type].delay_ms = 0;
		for (int i = 0; i < 2; i++)
			rig->fate[type][i].refuse = type == DNS_A ? -EMFILE : -EPERM;
	}
	expect_no_start(-EPERM, "socket");
	assert_string_equal(rig->starts, "6.1@0 4.1@0 6.2@0 4.2@0 ");
}

/* The same, but not inside start(): then it is the callback that says so. */
static void test_no_child_starts_later(void **state)
{
	for (int type = 0; type < DNS_TYPE_COUNT; type++)
		for (int i = 0; i < 2; i++)
			rig->fate[type][i].refuse = type == DNS_A ? -EMFILE : -EPERM;
	run();
	assert_int_equal(rig->result.err, -EPERM);
	assert_string_equal(rig->result.call, "socket");
	assert_string_equal(rig->starts, "6.1@10 6.2@10 4.1@10 4.2@10 ");
}

static void test_some_children_start(void **state)
{
	rig->fate[DNS_AAAA][0].refuse = -ENETUNREACH;
	rig->fate[DNS_A][0].refuse = -ENETUNREACH;
	rig->resolver.script[DNS_A].delay_ms = 0;
	run();
	assert_string_equal(rig->starts, "6.1@10 4.1@10 6.2@10 ");
	assert_int_equal(rig->result.err, 0);
}

/* At every millisecond of a race in which everything happens, up to its end. */
static void test_cancel_at_every_step(void **state)
{
	rig->resolver.script[DNS_AAAA].delay_ms = 100;
	fail_all(DNS_A, -ECONNREFUSED);
	rig->fate[DNS_AAAA][0].after_ms = HANGS;
	rig->fate[DNS_AAAA][1].refuse = -ENETUNREACH;
	rig->fate[DNS_A][1].after_ms = 400;
	for (unsigned ms = 0, alive = 1; alive; ms++) {
		const char *call;
		unsigned cancelled = rig->cancelled, running, reset = rig->reset;

		assert_int_equal(start(&call), 0);
		pass(ms);
		alive = rig->dial != NULL && ms < 600;
		running = rig->running;
		dial_cancel(TAKE_PTR(rig->dial), ms % 2);
		assert_int_equal(rig->cancelled, cancelled + running);
		assert_int_equal(rig->reset, reset + (ms % 2 ? running : 0));
		assert_int_equal(rig->running, 0);
		assert_int_equal(rig->resolver.pending, 0);
		assert_int_equal(rig->open_entries, 0);
		assert_true(timer_wheel_empty(&rig->loop.timers));
		pass(1000);
		assert_int_equal(rig->done, 0);
		rig->begin_ms = rig->loop.now_ms;
		rig->traced[0] = rig->starts[0] = '\0';
	}
}

static void test_addresses_skip_the_race(void **state)
{
	struct dial_request request = { .target.domain = "both.test" };

	assert_ptr_equal((dial_race_ops.skip)(&rig->race->base, &request), &rig->race->base);
	request.target = (struct target){ .addr = fake_addr(DNS_A, 1) };
	assert_ptr_equal((dial_race_ops.skip)(&rig->race->base, &request), &rig->via);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_first_wins),
		test(test_losers_are_reset),
		test(test_io_not_taken_is_closed),
		test(test_one_family),
		test(test_serial),
		test(test_resolution_delay),
		test(test_question_is_lost),
		test(test_cached),
		test(test_errors),
		test(test_every_dns_status_is_an_error),
		test(test_no_resolver),
		test(test_no_name_at_once),
		test(test_no_question_at_all),
		test(test_no_child_starts),
		test(test_no_child_starts_later),
		test(test_some_children_start),
		test(test_cancel_at_every_step),
		test(test_addresses_skip_the_race),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
