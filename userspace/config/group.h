/* group - outbounds that are one of others, and those that go by a proxy. */
#pragma once
#include <jansson.h>
#include "config/report.h"
#include "config/tags.h"

/* Sets the members of outbound @index, if it is a group, by the @tags of all; those that are wrong are
 * reported and CONFIG_NONE. */
void group_check(struct report *report, const json_t *root, struct config *config,
		 const struct tags *tags, size_t index);
/* What the keys of a proxy do not show one by one. */
void group_check_proxy(struct report *report, const struct config_outbound *outbound, size_t index);
