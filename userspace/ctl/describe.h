/* describe - a flow as JSON. The names of the members are frozen: scripts read them. */
#pragma once
#include "flow/flow.h"
#include <jansson.h>

/* All of these: a new reference, NULL: out of memory. */
json_t *describe_flow(const struct flow_info *info);
json_t *describe_attempts(const struct trace_attempt *attempts, size_t count);
/* As describe_flow() with "event" (open, close) and "reason" ("" unless it closed). */
json_t *describe_event(const struct flow_info *info);
