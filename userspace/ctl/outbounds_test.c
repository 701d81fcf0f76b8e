/* outbounds test - probes outbounds from the main thread, all that are wanted at once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/describe.h"
#include "ctl/outbounds.h"
#include "flow/probe.h"

struct tests;

struct test {
	struct tests *tests;
	size_t outbound;
	const char *url_text; /* the request's or the configuration's */
	struct probe_url url;
	struct probe *probe; /* under way; NULL: none */
	struct probe_result result;
	struct trace trace;
};

struct tests {
	struct task task;
	const struct ctl_context *context;
	size_t count, running;
	struct test list[];
};

static void tests_free(struct task *task)
{
	struct tests *t = container_of(task, struct tests, task);

	for (size_t i = 0; i < t->count; i++) {
		probe_cancel(t->list[i].probe);
		trace_deinit(&t->list[i].trace);
	}
	free(t);
}

/* That of the group itself, else of the first that has one. */
static const char *default_url(const struct config *config, size_t outbound)
{
	const char *first = NULL;

	if (config->outbounds[outbound].type == OUTBOUND_URLTEST)
		return config->outbounds[outbound].group.url;
	for (size_t i = 0; !first && i < config->outbound_count; i++)
		if (config->outbounds[i].type == OUTBOUND_URLTEST)
			first = config->outbounds[i].group.url;
	return first ? first : PROBE_URL_DEFAULT;
}

static void on_probed(void *owner, const struct probe_result *result)
{
	struct test *test = owner;
	struct tests *t = test->tests;

	test->probe = NULL;
	test->result = *result;
	if (--t->running == 0)
		t->task.done(t->task.owner);
}

static void start_test(struct test *test)
{
	struct tests *t = test->tests;
	const struct outbound *outbound = &t->context->config->outbounds[test->outbound];
	const struct probe_request request = {
		.env = t->context->dial_env,
		.dialer = outbound->dialer,
		.url = &test->url,
		.override = &outbound->override,
		.trace = &test->trace,
		.done = on_probed,
		.owner = test,
	};
	const char *call = "block";
	int r = -EPERM;

	trace_init(&test->trace, t->context->dial_env->loop->now_ms);
	if (request.dialer)
		r = probe_start(&test->probe, &request, &call);
	if (r)
		test->result = (struct probe_result){ .err = r, .call = call };
	else
		t->running++;
}

static int add_test(struct call *call, struct tests *t, size_t outbound)
{
	const char *url = call_string(call, "url");
	struct test *test = &t->list[t->count];

	*test = (struct test){ .tests = t, .outbound = outbound };
	test->url_text = url ? url : default_url(t->context->config->config, outbound);
	if (probe_url_parse(test->url_text, &test->url))
		return call_fail(call, "\"url\": not http://host[:port]/path: %.128s",
				 test->url_text);
	t->count++;
	return 0;
}

/* All but those that block. */
static int add_tests(struct call *call, struct tests *t)
{
	const struct flow_config *config = t->context->config;
	const char *tag = call_string(call, "tag");
	size_t outbound;
	int r = 0;

	if (tag) {
		r = outbounds_find(call, tag, &outbound);
		return r ? r : add_test(call, t, outbound);
	}
	for (size_t i = 0; !r && i < config->outbound_count; i++)
		if (config->outbounds[i].dialer)
			r = add_test(call, t, i);
	return r;
}

int outbounds_test_begin(struct call *call)
{
	const struct ctl_context *context = call->context;
	struct tests *t;

	if (!context->dial_env)
		return call_fail(call, "nothing is dialed from here");
	t = calloc(1, sizeof(*t) + context->config->outbound_count * sizeof(t->list[0]));
	if (!t)
		return call_fail(call, "out of memory");
	t->task.free = tests_free;
	t->context = context;
	call->task = &t->task;
	if (add_tests(call, t))
		return -EINVAL;
	for (size_t i = 0; i < t->count; i++)
		start_test(&t->list[i]);
	return t->running ? 0 : 1;
}

/* NULL: out of memory. The names of the members are frozen: scripts read them. */
static json_t *describe_test(const struct flow_config *config, const struct test *test)
{
	const struct probe_result *result = &test->result;
	char error[160] = "";

	if (result->err && result->status)
		snprintf(error, sizeof(error), "%s %u", result->call, result->status);
	else if (result->err)
		snprintf(error, sizeof(error), "%s: %s", result->call ? result->call : "dial",
			 strerror(-result->err));
	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:s, s:o}", "outbound",
			 config->outbounds[test->outbound].tag, "url", test->url_text, "ok",
			 !result->err, "ms", (json_int_t)result->ms, "status",
			 (json_int_t)result->status, "error", error, "attempts",
			 describe_attempts(test->trace.list, test->trace.count));
}

int outbounds_test(struct call *call, struct out *out)
{
	const struct tests *t = container_of(call->task, struct tests, task);

	out_put(out, "[", 1);
	for (size_t i = 0; i < t->count; i++) {
		json_t *test = describe_test(t->context->config, &t->list[i]);

		if (i)
			out_put(out, ",", 1);
		out_json(out, test);
		json_decref(test);
	}
	out_put(out, "]", 1);
	return 0;
}
