#include "route/regex.h"
#include <errno.h>
#include <stdio.h>

/* A name has 253 characters at most: an honest expression needs some hundred steps. */
#define MATCH_STEPS   10000
#define DEPTH         1000
#define HEAP_KIB      1024
#define REASON_LENGTH 128

pcre2_match_context *route_regex_limits(void)
{
	pcre2_match_context *limits = pcre2_match_context_create(NULL);

	if (!limits)
		return NULL;
	(void)pcre2_set_match_limit(limits, MATCH_STEPS);
	(void)pcre2_set_depth_limit(limits, DEPTH); /* this and the next: without JIT only */
	(void)pcre2_set_heap_limit(limits, HEAP_KIB);
	return limits;
}

int route_regex_compile(const char *pattern, struct route_regex *ret, char *reason, size_t size)
{
	PCRE2_UCHAR text[REASON_LENGTH];
	PCRE2_SIZE offset;
	pcre2_code *code;
	int error;

	code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_CASELESS, &error,
			     &offset, NULL);
	if (!code) {
		if (error == PCRE2_ERROR_HEAP_FAILED)
			return -ENOMEM;
		(void)pcre2_get_error_message(error, text, sizeof(text));
		snprintf(reason, size, "%s at offset %zu", (char *)text, (size_t)offset);
		return -EINVAL;
	}
	/* It may be missing, or forbidden (MemoryDenyWriteExecute): then the interpreter matches. */
	(void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
	ret->code = code;
	return 0;
}

void route_regex_deinit(struct route_regex *regex)
{
	pcre2_code_free(regex->code);
	regex->code = NULL;
}

bool route_regex_holds(const struct route_regex *regex, pcre2_match_context *limits,
		       struct route_regex_work *work, const char *text)
{
	if (!work->data)
		work->data = pcre2_match_data_create(1, NULL);
	if (!work->data)
		return false;
	return pcre2_match(regex->code, (PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, 0, 0, work->data,
			   limits) >= 0;
}

void route_regex_work_deinit(struct route_regex_work *work)
{
	pcre2_match_data_free(work->data);
	work->data = NULL;
}
