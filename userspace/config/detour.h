/* detour - outbounds that open their connections by another one, or by one of a group. */
#pragma once
#include <jansson.h>
#include "config/report.h"
#include "config/tags.h"

#define DETOUR_MAX 8 /* in a row */

/* Sets the detour and the members of every outbound; what cannot work is reported and left out. */
void detour_check(struct report *report, const json_t *root, struct config *config,
		  const struct tags *tags);
/* Reports at @place, which refers to @to, if @to leads elsewhere than it is told: only what a rule names may. */
void detour_check_override(struct report *report, const struct config_outbound *to,
			   const struct place *place);
/* The index of the outbound that a way by @index leaves by; after detour_check(). */
size_t detour_end(const struct config *config, size_t index);
