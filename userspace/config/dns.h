/* dns - DNS servers: their tags, the ways to them, and which outbound asks which. */
#pragma once
#include <jansson.h>
#include "config/report.h"
#include "config/schema.h"
#include "config/tags.h"

/* The `local` server where none is given. -ENOMEM is in the report. */
void dns_complete(struct report *report, const json_t *root, struct config *config);
/* After dns_complete() and detour_check(). @tags: of the outbounds. */
void dns_check(struct report *report, const json_t *root, struct draft *draft,
	       const struct tags *tags);
