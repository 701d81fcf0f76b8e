/* layout - every condition of a configuration gets its number. */
#pragma once
#include "route/compiled.h"

/* Fills in @matches and the ranges, without expressions and tables. -EINVAL: @reason. -ENOMEM. */
int route_layout(struct route_rules *rules, char *reason, size_t size);
/* "route.rules[3].rules[1]", shortened to @size bytes. Returns its length. */
size_t route_layout_name(const struct route_rules *rules, uint32_t id, char *buf, size_t size);
