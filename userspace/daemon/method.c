#include "daemon/method.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "kern/kernel.h"
#include "kern/local.h"
#include "relay/selftest.h"

#define EXIT_SKIPPED   77
#define SELFTEST_PAIRS 64

int method_open_sockmap(bool force, uint32_t flows, uint32_t workers, struct fastpath **ret,
			char *reason)
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

void method_open_local(bool force, struct fastpath *fastpath)
{
	struct selftest_case cases[SELFTEST_CASES_MAX];
	char reason[FASTPATH_REASON_MAX];
	size_t count;
	int r = local_load(&fastpath->local, fastpath, reason);

	if (!r)
		r = relay_selftest_local(fastpath, cases, &count, reason);
	if (r == -EOPNOTSUPP && force)
		log_warn("daemon", "relay.local_clients: %s; relay.force takes the risk", reason);
	else if (r)
		log_warn("daemon", "relay.local_clients is refused: %s", reason);
	if (!r || (r == -EOPNOTSUPP && force))
		return;
	local_free(fastpath->local);
	fastpath->local = NULL;
}

/* What `seamd selftest` found out. */
struct finding {
	struct selftest_case cases[SELFTEST_CASES_MAX];
	size_t count;
	char reason[FASTPATH_REASON_MAX]; /* "": usable */
};

static void print_text(const struct finding *found, const char *what)
{
	const struct selftest_case *cases = found->cases;

	for (size_t i = 0; i < found->count; i++)
		printf("%-6s %7.1f ms  %s%s%s\n", cases[i].passed ? "ok" : "FAILED",
		       cases[i].us / 1000.0, cases[i].name, cases[i].why[0] ? ": " : "",
		       cases[i].why);
	printf("%s: %s%s\n", what, found->reason[0] ? "not usable: " : "usable", found->reason);
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

static void print_members(const struct finding *found)
{
	const struct selftest_case *cases = found->cases;

	printf("\"usable\":%s,\"reason\":", found->reason[0] ? "false" : "true");
	print_quoted(found->reason);
	printf(",\"cases\":[");
	for (size_t i = 0; i < found->count; i++) {
		printf("%s{\"name\":\"%s\",\"passed\":%s,\"us\":%u,\"why\":", i ? "," : "",
		       cases[i].name, cases[i].passed ? "true" : "false", cases[i].us);
		print_quoted(cases[i].why);
		putchar('}');
	}
	putchar(']');
}

static void print_findings(const struct finding *sockmap, const struct finding *local, bool json)
{
	if (!json) {
		print_text(sockmap, "sockmap");
		print_text(local, "local clients");
		return;
	}
	putchar('{');
	print_members(sockmap);
	printf(",\"local_clients\":{");
	print_members(local);
	puts("}}");
}

static int test_both(struct finding *sockmap, struct finding *local)
{
	struct fastpath *fastpath;
	int r = fastpath_load(&fastpath, SELFTEST_PAIRS, 1, sockmap->reason);

	if (r)
		return EXIT_SKIPPED;
	r = relay_selftest(fastpath, sockmap->cases, &sockmap->count, sockmap->reason);
	if (!r && !local_load(&fastpath->local, fastpath, local->reason))
		(void)relay_selftest_local(fastpath, local->cases, &local->count, local->reason);
	fastpath_free(fastpath);
	return r == -EIO ? EXIT_FAILURE : r ? EXIT_SKIPPED : 0;
}

int method_selftest(bool json)
{
	struct finding sockmap = { .count = 0 }, local = { .count = 0 };
	char unfit[FASTPATH_REASON_MAX] = "";
	bool fit = kernel_sockmap_fit(unfit, sizeof(unfit));
	int code = test_both(&sockmap, &local);

	if (!code && !fit) { /* it works, but only relay.force uses it */
		code = EXIT_SKIPPED;
		memcpy(sockmap.reason, unfit, sizeof(unfit));
	}
	if (sockmap.reason[0] && !local.reason[0])
		snprintf(local.reason, sizeof(local.reason), "the sockmap is not");
	print_findings(&sockmap, &local, json);
	return code;
}
