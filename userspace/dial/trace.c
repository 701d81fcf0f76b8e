#include "dial/trace.h"
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/names.h"

NAME_TABLE(trace_step_names, TRACE_STEP_COUNT, "connect", "A", "AAAA");

void trace_init(struct trace *trace, uint64_t now_ms)
{
	*trace = (struct trace){ .begin_ms = now_ms };
}

void trace_deinit(struct trace *trace)
{
	free(trace->list);
	*trace = (struct trace){ 0 };
}

/* Most dials are one attempt; the second size is a name with an answer for each family. */
static int grow(struct trace *trace)
{
	static const uint16_t rooms[] = { 1, 4, 16, TRACE_MAX };
	struct trace_attempt *list;
	size_t i = 0;

	while (i < ARRAY_SIZE(rooms) && rooms[i] <= trace->room)
		i++;
	if (i == ARRAY_SIZE(rooms))
		return -ENOSPC;
	list = realloc(trace->list, rooms[i] * sizeof(*list));
	if (!list)
		return -ENOMEM;
	trace->list = list;
	trace->room = rooms[i];
	return 0;
}

int trace_begin(struct trace *trace, enum trace_step step, const struct addr *addr,
		const char *interface, uint64_t now_ms)
{
	struct trace_attempt *attempt;

	if (!trace)
		return -1;
	if (trace->count == trace->room && grow(trace)) {
		trace->dropped++;
		return -1;
	}
	attempt = &trace->list[trace->count];
	*attempt = (struct trace_attempt){ .step = step,
					   .start_ms = (uint32_t)(now_ms - trace->begin_ms),
					   .err = -EINPROGRESS };
	if (addr)
		attempt->addr = *addr;
	if (interface)
		snprintf(attempt->interface, sizeof(attempt->interface), "%s", interface);
	return trace->count++;
}

void trace_end(struct trace *trace, int attempt, int err, const char *why, uint64_t now_ms)
{
	struct trace_attempt *at;

	if (!trace || attempt < 0)
		return;
	assert(attempt < trace->count && trace->list[attempt].err == -EINPROGRESS);
	at = &trace->list[attempt];
	at->took_ms = (uint32_t)(now_ms - trace->begin_ms) - at->start_ms;
	at->err = err;
	at->why = why;
}

void trace_revoke(struct trace *trace, int err, const char *why, uint64_t now_ms)
{
	for (size_t i = trace ? trace->count : 0; i > 0; i--) {
		struct trace_attempt *at = &trace->list[i - 1];

		if (at->step != TRACE_CONNECT || at->err)
			continue;
		at->took_ms = (uint32_t)(now_ms - trace->begin_ms) - at->start_ms;
		at->err = err;
		at->why = why;
		return;
	}
}

/* What DNS said stands for itself; a call that failed wants its reason. */
const char *trace_outcome(const struct trace_attempt *attempt, char *buf, size_t size)
{
	bool is_connect = attempt->step == TRACE_CONNECT;

	if (attempt->err == -EINPROGRESS)
		snprintf(buf, size, "running");
	else if (attempt->err == -ECANCELED)
		snprintf(buf, size, "lost");
	else if (!attempt->err)
		snprintf(buf, size, "%s", is_connect ? "connected" : "answered");
	else if (!attempt->why)
		snprintf(buf, size, "%s", strerror(-attempt->err));
	else if (is_connect)
		snprintf(buf, size, "%s: %s", attempt->why, strerror(-attempt->err));
	else
		snprintf(buf, size, "%s", attempt->why);
	return buf;
}

struct text {
	char *buf;
	size_t size, len;
};

/* What does not fit is cut. */
static __attribute__((format(printf, 2, 3))) void append(struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->buf + text->len, text->size - text->len, format, args);
	va_end(args);
	if (n > 0)
		text->len += (size_t)n;
	if (text->len >= text->size)
		text->len = text->size - 1;
}

const char *trace_format(const struct trace *trace, char *buf, size_t size)
{
	struct text text = { .buf = buf, .size = size };
	char word[256];

	assert(size);
	buf[0] = '\0';
	for (uint16_t i = 0; trace && i < trace->count; i++) {
		const struct trace_attempt *at = &trace->list[i];

		append(&text, "%s%s", i ? "; " : "",
		       at->step == TRACE_CONNECT ? addr_format(&at->addr, word)
						 : trace_step_names[at->step]);
		if (at->interface[0])
			append(&text, " via %s", at->interface);
		append(&text, " at %u ms: ", at->start_ms);
		append(&text, "%s", trace_outcome(at, word, sizeof(word)));
	}
	if (trace && trace->dropped)
		append(&text, "%s%u more", trace->count ? "; " : "", trace->dropped);
	return buf;
}
