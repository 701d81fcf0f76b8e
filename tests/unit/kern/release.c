/* Which kernels' sockmap is fit, by uname -r and uname -v. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "kern/kernel.h"

static const struct {
	const char *release, *version;
	bool fit;
} samples[] = {
	/* long-term series, at their first fit patch level */
	{ "6.1.190", "#1 SMP", false },
	{ "6.1.191", "#1 SMP", true },
	{ "6.6.93", "#1 SMP", false },
	{ "6.6.94", "#1 SMP", true },
	{ "6.12.104", "#1 SMP", false },
	{ "6.12.105", "#1 SMP", true },
	{ "6.12.105-gentoo", "#1 SMP", true },
	{ "6.12", "#1 SMP", false },
	/* between and below them */
	{ "5.10.250", "#1 SMP", false },
	{ "5.15.300", "#1 SMP", false },
	{ "6.0.500", "#1 SMP", false },
	{ "6.2.999", "#1 SMP", false },
	{ "6.11.999", "#1 SMP", false },
	{ "6.17.999", "#1 SMP", false },
	{ "4.19.325", "#1 SMP", false },
	/* and beyond */
	{ "6.18.0", "#1 SMP", true },
	{ "6.18.0-rc1", "#1 SMP", true },
	{ "6.18", "#1 SMP", true },
	{ "6.100.3", "#1 SMP", true },
	{ "7.0.0", "#1 SMP", true },
	{ "7.0-rc3", "#1 SMP", true },
	{ "10.1.1", "#1 SMP", true },
	/* Debian: -r names the ABI, -v the release */
	{ "6.1.0-42-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-1 (2026-09-01)", true },
	{ "6.1.0-38-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.147-1 (2025-08-02)", false },
	{ "6.12.48+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1 (2026-10-10)", true },
	{ "6.12.200+deb13-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2025-09-20)", false },
	{ "6.1.0-42-amd64", "#1 SMP PREEMPT_DYNAMIC Debian", false },
	/* what nobody understands is not trusted */
	{ "", "", false },
	{ "6", "#1 SMP", false },
	{ "next-20261122", "#1 SMP", false },
};

static void test_table(void **state)
{
	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
		char reason[128] = "untouched";
		bool fit = kernel_release_fit(samples[i].release, samples[i].version, reason,
					      sizeof(reason));

		if (fit != samples[i].fit)
			fail_msg("%s %s: %d", samples[i].release, samples[i].version, fit);
		if (fit)
			assert_string_equal(reason, "untouched");
		else
			assert_string_not_equal(reason, "untouched");
	}
}

static void test_reason_names_both_releases(void **state)
{
	char reason[128];

	assert_false(kernel_release_fit("6.1.170", "#1 SMP", reason, sizeof(reason)));
	assert_non_null(strstr(reason, "6.1.170"));
	assert_non_null(strstr(reason, "6.1.191"));
}

static void test_short_reason(void **state)
{
	char reason[8] = "1234567";

	assert_false(kernel_release_fit("5.10.1", "#1 SMP", reason, sizeof(reason)));
	assert_int_equal(strlen(reason), sizeof(reason) - 1);
}

static void test_this_kernel(void **state)
{
	char reason[128] = "";

	if (!kernel_sockmap_fit(reason, sizeof(reason)))
		assert_string_not_equal(reason, "");
	assert_int_equal(kernel_taint(), kernel_taint());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_reason_names_both_releases),
		cmocka_unit_test(test_short_reason),
		cmocka_unit_test(test_this_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
