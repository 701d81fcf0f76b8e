/* match - what the conditions of rules do not show key by key: tags, and that there is a condition. */
#pragma once
#include <jansson.h>
#include "config/report.h"
#include "config/schema.h"

/* Completes the rules of route and dns. Outbounds and DNS servers have their tags and are checked. */
void match_check(struct report *report, const json_t *root, struct config *config);
/* The rules of a file, whose document is @root. */
void match_check_set(struct report *report, const json_t *root, struct config_rule_set *set);
