/* trace - what a dial tried: every question and every connect(), with time and outcome. */
#pragma once
#include <net/if.h>
#include <stddef.h>
#include "net/addr.h"

enum trace_step { TRACE_CONNECT, TRACE_A, TRACE_AAAA, TRACE_STEP_COUNT };
extern const char *const trace_step_names[TRACE_STEP_COUNT];

struct trace_attempt {
	enum trace_step step;
	struct addr addr;           /* TRACE_CONNECT */
	char interface[IFNAMSIZ];   /* it is bound to; "": by the routes */
	uint32_t start_ms, took_ms; /* since the dial began */
	int err; /* 0: done; -EINPROGRESS; -ECANCELED: another was first; or what went wrong */
	const char *why; /* static: which call failed, what DNS said; NULL: nothing to say */
};

#define TRACE_MAX 48 /* attempts kept; the rest is counted */

/* Owned by who dials; zeroed is empty. */
struct trace {
	uint64_t begin_ms;
	struct trace_attempt *list;
	uint16_t count, room;
	uint32_t dropped;
};

void trace_init(struct trace *trace, uint64_t now_ms);
void trace_deinit(struct trace *trace);
/* A number for trace_end(), which also takes -1: it was dropped. @trace NULL is fine for all of these. */
int trace_begin(struct trace *trace, enum trace_step step, const struct addr *addr,
		const char *interface, uint64_t now_ms);
void trace_end(struct trace *trace, int attempt, int err, const char *why, uint64_t now_ms);
/* The connection that was the last to be made came to nothing: with fast open a connect is only a promise. */
void trace_revoke(struct trace *trace, int err, const char *why, uint64_t now_ms);
/* "10.0.0.1:80 via wan0 at 250 ms: connect: Connection refused; ..." into @buf, which it returns. */
const char *trace_format(const struct trace *trace, char *buf, size_t size);
/* One attempt's outcome alone: "connected", "running", "lost", "connect: Connection refused", "NXDOMAIN". */
const char *trace_outcome(const struct trace_attempt *attempt, char *buf, size_t size);
