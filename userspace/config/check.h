/* check - what no single key shows: tags, overlapping listeners, references, and worked-out defaults. */
#pragma once
#include <jansson.h>
#include "config/report.h"
#include "config/schema.h"

/* Completes @draft, which parse_document() filled from @root. */
void check_document(struct report *report, const json_t *root, struct draft *draft);
