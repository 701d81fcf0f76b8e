#include "daemon/method.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/log.h"
#include "kern/kernel.h"
#include "relay/selftest.h"

#define EXIT_SKIPPED 77
#define SELFTEST_PAIRS 64

int method_open_sockmap(bool force, uint32_t flows, uint32_t workers, struct fastpath **ret, char *reason)
{
	struct selftest_case cases[SELFTEST_CASES_MAX];
	struct fastpath *fastpath;
	size_t count;
	int r;

	if (!force && !kernel_sockmap_fit(reason, FASTPATH_REASON_MAX))
		return -EOPNOTSUPP;
	r = fastpath_load(&fastpath, flows, workers, reason);
	if (r)
		return r;
	r = relay_selftest(fastpath, cases, &count, reason);
	if (r) {
		fastpath_free(fastpath);
		return r;
	}
	*ret = fastpath;
	return 0;
}

static void print_text(const struct selftest_case *cases, size_t count, const char *reason)
{
	for (size_t i = 0; i < count; i++)
		printf("%-6s %7.1f ms  %s%s%s\n", cases[i].passed ? "ok" : "FAILED", cases[i].us / 1000.0,
		       cases[i].name, cases[i].why[0] ? ": " : "", cases[i].why);
	if (reason[0])
		printf("the sockmap is not usable: %s\n", reason);
	else
		puts("the sockmap is usable");
}

/* Names and reasons are ours: nothing in them needs escaping but the quote of strerror(). */
static void print_quoted(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar((unsigned char)*text < ' ' ? ' ' : *text);
	}
	putchar('"');
}

static void print_json(const struct selftest_case *cases, size_t count, const char *reason)
{
	printf("{\"usable\":%s,\"reason\":", reason[0] ? "false" : "true");
	print_quoted(reason);
	printf(",\"cases\":[");
	for (size_t i = 0; i < count; i++) {
		printf("%s{\"name\":\"%s\",\"passed\":%s,\"us\":%u,\"why\":", i ? "," : "", cases[i].name,
		       cases[i].passed ? "true" : "false", cases[i].us);
		print_quoted(cases[i].why);
		putchar('}');
	}
	puts("]}");
}

int method_selftest(bool json)
{
	struct selftest_case cases[SELFTEST_CASES_MAX];
	char reason[FASTPATH_REASON_MAX] = "", unfit[FASTPATH_REASON_MAX] = "";
	struct fastpath *fastpath;
	size_t count = 0;
	bool fit = kernel_sockmap_fit(unfit, sizeof(unfit));
	int r = fastpath_load(&fastpath, SELFTEST_PAIRS, 1, reason), code;

	code = r ? EXIT_SKIPPED : 0;
	if (!r) {
		r = relay_selftest(fastpath, cases, &count, reason);
		fastpath_free(fastpath);
		code = r == -EIO ? EXIT_FAILURE : r ? EXIT_SKIPPED : 0;
	}
	if (!r && !fit)		/* it works, but only relay.force uses it */
		code = EXIT_SKIPPED;
	if (json)
		print_json(cases, count, reason[0] ? reason : unfit);
	else
		print_text(cases, count, reason[0] ? reason : unfit);
	return code;
}
