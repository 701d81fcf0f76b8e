/* parse - walks a tree along the schema and fills the structs. */
#pragma once
#include <jansson.h>
#include "config/report.h"
#include "config/schema.h"

/* Into the zeroed struct of @section: defaults first, then what the tree says. What is wrong is reported and left at a value that no
 * later check trips over. -ENOMEM goes to the report too. */
void parse_document(struct report *report, const json_t *root, enum section section, void *base);
/* The defaults of a section, into its zeroed struct. */
void parse_defaults(struct report *report, enum section section, void *base);
/* Frees what a section's struct owns, and not the struct. */
void parse_free(enum section section, void *base);
