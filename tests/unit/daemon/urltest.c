/* Groups that test their members: when, and which is chosen. Probes, dialers and the time are the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include "base/log.h"
#include "daemon/urltest.h"
#include "dial/group.h"
#include "flow/probe.h"

#define MEMBERS  3
#define INTERVAL 10000
#define IDLE     (30 * INTERVAL)

struct probe {
	struct probe_request request;
	bool running;
};

static struct {
	struct loop loop;
	struct dial_env env;
	struct dialer dialers[MEMBERS];
	struct group_dialer group;
	struct probe probes[MEMBERS];
	unsigned started, cancelled;
	int refuse; /* probe_start() of this member fails; -1: none does */
	bool block; /* the last member is a block outbound */
	struct config config;
	struct urltest *urltest;
	_Atomic uint64_t used_ms;
} rig;

static size_t members[MEMBERS] = { 1, 2, 3 };
static struct config_outbound outbounds[MEMBERS + 1];

const struct dialer *dialers_get(const struct dialers *dialers, size_t outbound)
{
	return rig.block && outbound == MEMBERS ? NULL : &rig.dialers[outbound - 1];
}

struct group_dialer *dialers_group(const struct dialers *dialers, size_t outbound)
{
	return outbound ? NULL : &rig.group;
}

int probe_start(struct probe **ret, const struct probe_request *request, const char **ret_call)
{
	size_t i = (size_t)(request->dialer - rig.dialers);

	assert_true(i < MEMBERS);
	assert_ptr_equal(request->env, &rig.env);
	assert_string_equal(request->url->host, "test.example");
	assert_false(rig.probes[i].running);
	rig.started++;
	*ret_call = "socket";
	if ((int)i == rig.refuse)
		return -EMFILE;
	rig.probes[i] = (struct probe){ .request = *request, .running = true };
	*ret = &rig.probes[i];
	return 0;
}

void probe_cancel(struct probe *probe)
{
	if (!probe)
		return;
	assert_true(probe->running);
	probe->running = false;
	rig.cancelled++;
}

static void pass(uint64_t ms)
{
	rig.loop.now_ms += ms;
	timer_wheel_advance(&rig.loop.timers, rig.loop.now_ms);
}

static void end_probe(size_t member, int err, uint32_t ms)
{
	const struct probe_result result = {
		.err = err, .call = err ? "connect" : NULL, .ms = ms, .status = 204
	};
	struct probe *probe = &rig.probes[member];

	assert_true(probe->running);
	probe->running = false;
	probe->request.done(probe->request.owner, &result);
}

/* 0: it fails. */
static void whole_round(const uint32_t *ms)
{
	pass(INTERVAL + INTERVAL / 10 + 1);
	for (size_t i = 0; i < MEMBERS; i++)
		end_probe(i, ms[i] ? 0 : -ECONNREFUSED, ms[i]);
}

static int setup(void **state)
{
	char reason[256];

	memset(&rig, 0, sizeof(rig));
	memset(outbounds, 0, sizeof(outbounds));
	log_set_level(LOG_ERROR);
	rig.refuse = -1;
	rig.group.count = MEMBERS;
	outbounds[0] = (struct config_outbound){ .type = OUTBOUND_URLTEST,
						 .tag = (char *)"fastest",
						 .group = { .members = { members, MEMBERS },
							    .url = (char *)"http://test.example/x",
							    .interval_ms = INTERVAL,
							    .idle_timeout_ms = IDLE,
							    .tolerance_ms = 50 } };
	for (size_t i = 1; i <= MEMBERS; i++)
		outbounds[i].tag = (char *)"member";
	rig.config = (struct config){ .outbounds = outbounds, .outbound_count = MEMBERS + 1 };
	assert_int_equal(loop_init(&rig.loop), 0);
	rig.env.loop = &rig.loop;
	assert_int_equal(urltest_new(&rig.urltest, &rig.loop, &rig.config, NULL, &rig.env, reason),
			 0);
	assert_int_equal(rig.started, 0); /* not inside */
	return 0;
}

static int teardown(void **state)
{
	urltest_free(rig.urltest);
	for (size_t i = 0; i < MEMBERS; i++)
		assert_false(rig.probes[i].running);
	assert_true(timer_wheel_empty(&rig.loop.timers));
	loop_deinit(&rig.loop);
	return 0;
}

static unsigned delay(size_t member)
{
	return urltest_delay_ms(rig.urltest, 0, member);
}

/* Nobody goes by the group: it is left alone until somebody does. */
static void test_idle(void **state)
{
	static const uint32_t all[MEMBERS] = { 10, 10, 10 };
	unsigned started;

	rig.group.used_ms = &rig.used_ms;
	whole_round(all);
	started = rig.started;
	pass(IDLE + INTERVAL);
	pass(2 * INTERVAL);
	assert_int_equal(rig.started, started);
	rig.used_ms = rig.loop.now_ms;
	whole_round(all);
	assert_int_equal(rig.started, started + MEMBERS);
}

static void test_rounds(void **state)
{
	pass(1);
	assert_int_equal(rig.started, MEMBERS);
	assert_int_equal(delay(0), 0);
	end_probe(0, 0, 0);
	end_probe(2, -ECONNREFUSED, 0);
	assert_int_equal(delay(0), 1); /* 0 would be "not known" */
	assert_int_equal(delay(1), 0);
	assert_int_equal(delay(2), URLTEST_FAILED);
	pass(5ULL * INTERVAL); /* the round is not over */
	assert_int_equal(rig.started, MEMBERS);
	end_probe(1, 0, 30);
	pass(INTERVAL - INTERVAL / 10 - 1);
	assert_int_equal(rig.started, MEMBERS);
	pass(INTERVAL / 5 + 2);
	assert_int_equal(rig.started, 2 * MEMBERS);
	assert_int_equal(delay(1), 30); /* of the last round, until there is a new one */
	assert_int_equal(urltest_delay_ms(rig.urltest, 1, 0), 0);
	assert_int_equal(urltest_delay_ms(rig.urltest, 0, MEMBERS), 0);
}

static void test_choice(void **state)
{
	static const struct {
		uint32_t ms[MEMBERS];
		size_t selected;
	} rounds[] = {
		{ { 100, 60, 50 }, 0 }, /* 50 ms faster is not enough */
		{ { 101, 60, 50 }, 2 }, /* 51 is; the fastest of both */
		{ { 10, 20, 60 }, 2 },  /* back only for more than the tolerance */
		{ { 300, 200, 0 }, 1 }, /* the selected one fails: the fastest that works */
		{ { 0, 0, 0 }, 1 },     /* all fail: it stays */
		{ { 0, 4000, 0 }, 1 },  /* slow is better than nothing */
		{ { 3000, 0, 0 }, 0 },  { { 0, 0, 0 }, 0 }, { { 0, 0, 4999 }, 2 },
	};

	for (size_t i = 0; i < sizeof(rounds) / sizeof(*rounds); i++) {
		whole_round(rounds[i].ms);
		if (group_selected(&rig.group) != rounds[i].selected)
			fail_msg("round %zu: %zu is selected", i, group_selected(&rig.group));
	}
}

/* Chosen when the last answer is there, not before. */
static void test_waits_for_all(void **state)
{
	pass(1);
	end_probe(0, -ECONNREFUSED, 0);
	end_probe(1, 0, 100);
	assert_int_equal(group_selected(&rig.group), 0);
	end_probe(2, 0, 10);
	assert_int_equal(group_selected(&rig.group), 2);
}

static void test_refused(void **state)
{
	rig.refuse = 0;
	rig.block = true;
	outbounds[0].group.tolerance_ms = UINT32_MAX; /* of one that fails nothing is tolerated */
	pass(1);
	assert_int_equal(rig.started, 2); /* the block outbound is not dialed */
	assert_int_equal(delay(0), URLTEST_FAILED);
	assert_int_equal(delay(2), URLTEST_FAILED);
	end_probe(1, 0, 700);
	assert_int_equal(group_selected(&rig.group), 1);
}

static void test_free_midway(void **state)
{
	pass(1);
	end_probe(1, 0, 10);
	urltest_free(rig.urltest);
	rig.urltest = NULL;
	assert_int_equal(rig.cancelled, 2);
}

static void test_bad_url(void **state)
{
	struct urltest *urltest;
	char reason[256];

	outbounds[0].group.url = (char *)"https://test.example/";
	assert_int_equal(urltest_new(&urltest, &rig.loop, &rig.config, NULL, &rig.env, reason),
			 -EINVAL);
	assert_non_null(strstr(reason, "outbound fastest"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_choice, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waits_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_midway, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_url, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
