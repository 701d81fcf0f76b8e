/* The self-test of the sockmap passes where the kernel is fit, says what is wrong where something is, and
 * leaves nothing behind. */
#include "common.h"
#include <bpf/bpf.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include "relay/selftest.h"

#define SKIP    77
#define PAIRS   64
#define WORKERS 2

static struct fastpath *fastpath;

/* Entries of a map; of a sockmap, those that hold a socket. */
static unsigned entries(int map, bool is_socks)
{
	unsigned count = 0;

	if (is_socks) {
		for (uint32_t slot = 0; slot < 2 * PAIRS; slot++) {
			uint64_t cookie;

			count += !bpf_map_lookup_elem(map, &slot, &cookie);
		}
		return count;
	}
	for (uint64_t key, *at = NULL; !bpf_map_get_next_key(map, at, &key); at = &key)
		count++;
	return count;
}

static void assert_nothing_left(unsigned fds)
{
	assert_int_equal(entries(fastpath->flows_fd, false), 0);
	assert_int_equal(entries(fastpath->socks_fd, true), 0);
	assert_int_equal(open_fds(""), fds);
}

static void test_passes(void **state)
{
	struct selftest_case cases[SELFTEST_CASES_MAX];
	char reason[FASTPATH_REASON_MAX] = "untouched";
	unsigned fds = open_fds("");

	for (int i = 0; i < 2; i++) {
		size_t count = 0;
		int r = relay_selftest(fastpath, cases, &count, reason);

		for (size_t c = 0; c < count; c++)
			if (!cases[c].passed)
				print_error("%s: %s\n", cases[c].name, cases[c].why);
		if (r)
			fail_msg("%s", reason);
		assert_string_equal(reason, "untouched");
		assert_true(count > 15 && count <= SELFTEST_CASES_MAX);
		for (size_t c = 0; c < count; c++) {
			assert_true(cases[c].passed && cases[c].name);
			assert_string_equal(cases[c].why, "");
		}
		assert_nothing_left(fds);
	}
}

/* The verdict finds no slot, so every byte is passed. */
static void test_says_what_is_wrong(void **state)
{
	struct selftest_case cases[SELFTEST_CASES_MAX];
	char reason[FASTPATH_REASON_MAX] = "";
	unsigned fds = open_fds("");
	uint32_t pairs = fastpath->pairs;
	size_t count = 0;

	fastpath->pairs = 0; /* no slots for anybody */
	assert_int_equal(relay_selftest(fastpath, cases, &count, reason), -EIO);
	fastpath->pairs = pairs;
	assert_true(count > 15);
	assert_false(cases[0].passed);
	assert_non_null(strstr(cases[0].why, "no-slot"));
	assert_non_null(strstr(reason, cases[0].name));
	assert_non_null(strstr(reason, cases[0].why));
	assert_nothing_left(fds);
}

/* With ever fewer descriptors: it cannot be run, or a case fails, but it always comes back clean. */
static void test_out_of_descriptors(void **state)
{
	struct selftest_case cases[SELFTEST_CASES_MAX];
	unsigned fds = open_fds(""), could_not = 0, failed = 0;
	struct rlimit old, few;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	for (rlim_t limit = fds; limit < fds + 8; limit++) {
		char reason[FASTPATH_REASON_MAX] = "";
		size_t count = 99;
		int r;

		few.rlim_cur = limit;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		r = relay_selftest(fastpath, cases, &count, reason);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_true(r < 0);
		assert_string_not_equal(reason, "");
		could_not += r != -EIO;
		failed += r == -EIO;
		if (r != -EIO)
			assert_int_equal(count, 0);
		assert_nothing_left(fds);
	}
	assert_true(could_not > 0);
	assert_true(failed > 0);
}

static void test_no_loopback(void **state)
{
	struct selftest_case cases[SELFTEST_CASES_MAX];
	char reason[FASTPATH_REASON_MAX] = "";
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), r;
	unsigned fds = open_fds("");
	size_t count = 99;

	assert_true(home >= 0);
	if (unshare(CLONE_NEWNET)) {
		close(home);
		skip(); /* CAP_SYS_ADMIN */
	}
	r = relay_selftest(fastpath, cases, &count, reason);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	assert_int_equal(r, -ENETUNREACH);
	assert_int_equal(count, 0);
	assert_non_null(strstr(reason, "127.0.0.1"));
	assert_nothing_left(fds);
	close(home);
}

static int load(void)
{
	char reason[FASTPATH_REASON_MAX];
	int r = fastpath_load(&fastpath, PAIRS, WORKERS, reason);

	if (r != -EPERM && r)
		fprintf(stderr, "%s\n", reason);
	if (r == -EPERM)
		printf("skipped: %s\n", reason);
	return r;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passes),
		cmocka_unit_test(test_says_what_is_wrong),
		cmocka_unit_test(test_out_of_descriptors),
		cmocka_unit_test(test_no_loopback),
	};
	int r = load();

	if (r)
		return r == -EPERM ? SKIP : EXIT_FAILURE;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	fastpath_free(fastpath);
	return r;
}
