/* tree - text to a jansson tree, syntax errors put where they belong. */
#pragma once
#include <jansson.h>
#include "config/report.h"

/* As json_loadb(), but 0, -EINVAL (with @error unless NULL) or -ENOMEM. One
 * thread at a time: it swaps the allocator of jansson. */
int tree_parse(const char *json, size_t len, size_t flags, json_t **ret, json_error_t *error);
/* The tree of @text, which was read and is that of @report. 0; -EINVAL: a syntax error was reported.
 * Keys that are there twice are reported and the last one is in the tree. */
int tree_load(struct report *report, struct text *text, json_t **ret);
