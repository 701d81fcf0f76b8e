/* Attempts are recorded in order up to a limit, and read like a sentence. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "dial/trace.h"

static struct addr address(const char *text, uint16_t port)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, port, &addr), 0);
	return addr;
}

static void test_nobody_asks(void **state)
{
	const struct addr addr = address("192.0.2.1", 80);
	char buf[64];

	assert_int_equal(trace_begin(NULL, TRACE_CONNECT, &addr, NULL, 0), -1);
	trace_end(NULL, -1, 0, NULL, 0);
	trace_end(NULL, 3, 0, NULL, 0);
	assert_string_equal(trace_format(NULL, buf, sizeof(buf)), "");
}

static void test_attempts(void **state)
{
	const struct addr addr = address("192.0.2.1", 80);
	struct trace trace = { 0 };
	int first, second;

	trace_init(&trace, 1000);
	first = trace_begin(&trace, TRACE_AAAA, NULL, NULL, 1000);
	second = trace_begin(&trace, TRACE_CONNECT, &addr, "a-name-too-long-to-fit", 1250);
	assert_int_equal(trace.count, 2);
	assert_int_equal(trace.list[1].err, -EINPROGRESS);
	trace_end(&trace, second, -ECONNREFUSED, "connect", 1300);
	trace_end(&trace, first, 0, NULL, 1900);
	trace_end(&trace, -1, -EPERM, "none", 2000);
	assert_int_equal(trace.list[first].step, TRACE_AAAA);
	assert_int_equal(trace.list[first].start_ms, 0);
	assert_int_equal(trace.list[first].took_ms, 900);
	assert_int_equal(trace.list[first].err, 0);
	assert_null(trace.list[first].why);
	assert_int_equal(trace.list[first].addr.family, AF_UNSPEC);
	assert_string_equal(trace.list[first].interface, "");
	assert_int_equal(trace.list[second].step, TRACE_CONNECT);
	assert_int_equal(trace.list[second].start_ms, 250);
	assert_int_equal(trace.list[second].took_ms, 50);
	assert_int_equal(trace.list[second].err, -ECONNREFUSED);
	assert_string_equal(trace.list[second].why, "connect");
	assert_string_equal(trace.list[second].interface, "a-name-too-long");
	assert_true(addr_equal(&trace.list[second].addr, &addr));
	trace_deinit(&trace);
	assert_null(trace.list);
	assert_int_equal(trace.count, 0);
	trace_deinit(&trace); /* twice is fine */
}

static void test_limit(void **state)
{
	struct trace trace = { 0 };
	struct addr addr = address("192.0.2.1", 0);
	char buf[8192];
	const char *end;

	for (int i = 0; i < TRACE_MAX + 3; i++) {
		static const uint16_t rooms[] = { 1, 4, 16, TRACE_MAX };
		int room = i < 1 ? 0 : i < 4 ? 1 : i < 16 ? 2 : 3;

		addr.port = (in_port_t)(1000 + i);
		assert_int_equal(trace_begin(&trace, TRACE_CONNECT, &addr, NULL, 0),
				 i < TRACE_MAX ? i : -1);
		assert_int_equal(trace.room, rooms[room]);
	}
	assert_int_equal(trace.count, TRACE_MAX);
	assert_int_equal(trace.dropped, 3);
	for (int i = 0; i < TRACE_MAX; i++)
		assert_int_equal(trace.list[i].addr.port, 1000 + i);
	trace_format(&trace, buf, sizeof(buf));
	end = strrchr(buf, ';');
	assert_non_null(end);
	assert_string_equal(end, "; 3 more");
	trace_deinit(&trace);
}

static void test_outcome(void **state)
{
	static const struct {
		enum trace_step step;
		int err;
		const char *why, *outcome;
	} samples[] = {
		{ TRACE_CONNECT, 0, NULL, "connected" },
		{ TRACE_CONNECT, -EINPROGRESS, NULL, "running" },
		{ TRACE_CONNECT, -ECANCELED, NULL, "lost" },
		{ TRACE_CONNECT, -ECONNREFUSED, "connect", "connect: Connection refused" },
		{ TRACE_CONNECT, -ENOMEM, NULL, "Cannot allocate memory" },
		{ TRACE_A, 0, NULL, "answered" },
		{ TRACE_A, -EINPROGRESS, NULL, "running" },
		{ TRACE_AAAA, -ENOENT, "NXDOMAIN", "NXDOMAIN" },
		{ TRACE_AAAA, -ETIMEDOUT, NULL, "Connection timed out" },
		{ TRACE_AAAA, -ECANCELED, NULL, "lost" },
	};
	char buf[64];

	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
		const struct trace_attempt attempt = { .step = samples[i].step,
						       .err = samples[i].err,
						       .why = samples[i].why };

		assert_string_equal(trace_outcome(&attempt, buf, sizeof(buf)), samples[i].outcome);
	}
}

/* A fast open that nobody answered: the last connection that was made is none, the others stay. */
static void test_revoke(void **state)
{
	struct trace trace;
	int first, second, question;

	trace_init(&trace, 1000);
	trace_revoke(&trace, -ETIMEDOUT, "connect", 1001); /* nothing to revoke */
	first = trace_begin(&trace, TRACE_CONNECT, NULL, "", 1010);
	trace_end(&trace, first, -ECONNREFUSED, "connect", 1011);
	second = trace_begin(&trace, TRACE_CONNECT, NULL, "", 1020);
	trace_end(&trace, second, 0, NULL, 1020);
	question = trace_begin(&trace, TRACE_A, NULL, "", 1020);
	trace_end(&trace, question, 0, NULL, 1020);
	trace_revoke(&trace, -ETIMEDOUT, "connect", 1220);
	assert_int_equal(trace.list[first].err, -ECONNREFUSED);
	assert_int_equal(trace.list[second].err, -ETIMEDOUT);
	assert_string_equal(trace.list[second].why, "connect");
	assert_int_equal(trace.list[second].took_ms, 200);
	assert_int_equal(trace.list[question].err, 0);
	trace_deinit(&trace);
}

static void test_format(void **state)
{
	static const char whole[] = "AAAA at 0 ms: NXDOMAIN; A at 0 ms: answered; "
				    "10.0.0.1:80 via wan0 at 250 ms: connect: Connection refused; "
				    "[2001:db8::1]:443 at 500 ms: running";
	const struct addr v4 = address("10.0.0.1", 80), v6 = address("2001:db8::1", 443);
	struct trace trace = { 0 };
	char buf[512], *exact;

	trace_init(&trace, 7);
	assert_string_equal(trace_format(&trace, buf, sizeof(buf)), "");
	trace_end(&trace, trace_begin(&trace, TRACE_AAAA, NULL, NULL, 7), -ENOENT, "NXDOMAIN", 9);
	trace_end(&trace, trace_begin(&trace, TRACE_A, NULL, "", 7), 0, NULL, 9);
	trace_end(&trace, trace_begin(&trace, TRACE_CONNECT, &v4, "wan0", 257), -ECONNREFUSED,
		  "connect", 258);
	trace_begin(&trace, TRACE_CONNECT, &v6, NULL, 507);
	assert_string_equal(trace_format(&trace, buf, sizeof(buf)), whole);
	for (size_t size = 1; size <= sizeof(whole); size++) {
		exact = malloc(size); /* the sanitizer sees a byte too many */
		trace_format(&trace, exact, size);
		assert_int_equal(strlen(exact), size - 1);
		assert_memory_equal(exact, whole, size - 1);
		free(exact);
	}
	trace_deinit(&trace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_asks), cmocka_unit_test(test_attempts),
		cmocka_unit_test(test_limit),       cmocka_unit_test(test_outcome),
		cmocka_unit_test(test_format),      cmocka_unit_test(test_revoke),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
