/* describe - a flow as JSON. The names of the members are frozen: scripts read them. */
#pragma once
#include "flow/flow.h"
#include <jansson.h>

/* A new reference, NULL: out of memory. */
json_t *describe_flow(const struct flow_info *info);
/* The same with "event" (open, close) and "reason" ("" unless it closed). */
json_t *describe_event(const struct flow_info *info);
