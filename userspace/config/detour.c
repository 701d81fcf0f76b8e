#include "config/detour.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SHOWN_MAX  (DETOUR_MAX + 1) /* tags of a cycle that are named */
#define TEXT_BYTES 1024             /* SHOWN_MAX tags, whose length form_tag() limits, and arrows */

static const struct place document, outbounds = { .up = &document, .key = "outbounds" };

/* Declares @place, the detour of outbound @i. */
#define WITH_PLACE(place, i)                                       \
	struct place element = { .up = &outbounds, .index = (i) }; \
	struct place place = { .up = &element, .key = "detour" }

static void resolve(struct report *report, struct config *config, const struct tags *tags, size_t i)
{
	struct config_outbound *outbound = &config->outbounds[i];
	WITH_PLACE(place, i);
	size_t to;

	outbound->detour = CONFIG_NONE;
	if (!outbound->detour_tag)
		return;
	to = tags_find(report, tags, outbound->detour_tag, &place);
	if (to == i)
		report_error(report, AT_VALUE(&place), "an outbound cannot be its own detour");
	else if (to != CONFIG_NONE && config->outbounds[to].type == OUTBOUND_BLOCK)
		report_error(report, AT_VALUE(&place),
			     "\"%s\" is of type block: nothing gets through it",
			     outbound->detour_tag);
	else
		outbound->detour = to;
}

/* Reports the cycle that @first is in, and breaks all of it up. */
static void report_cycle(struct report *report, struct config *config, size_t first)
{
	WITH_PLACE(place, first);
	char text[TEXT_BYTES] = "";
	size_t used = 0, shown = 0, i = first;

	do {
		struct config_outbound *outbound = &config->outbounds[i];

		if (shown < SHOWN_MAX)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s -> ",
						 outbound->tag);
		else if (shown == SHOWN_MAX)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "... -> ");
		shown++;
		i = outbound->detour;
		outbound->detour = CONFIG_NONE;
	} while (i != first);
	report_error(report, AT_VALUE(&place), "detours in a circle: %s%s", text,
		     config->outbounds[first].tag);
}

/* Of a cycle the first in the file. */
static size_t first_of(const struct config *config, size_t start)
{
	size_t first = start;

	for (size_t i = config->outbounds[start].detour; i != start;
	     i = config->outbounds[i].detour)
		if (i < first)
			first = i;
	return first;
}

/* Every outbound has one detour at most: a walk that meets its own trace has found a cycle. */
static void find_cycles(struct report *report, struct config *config)
{
	size_t *trace = calloc(config->outbound_count + 1, sizeof(*trace));

	if (!trace) {
		report->result = -ENOMEM;
		return;
	}
	for (size_t walk = 0; walk < config->outbound_count; walk++) {
		size_t i = walk;

		while (i != CONFIG_NONE && !trace[i]) {
			trace[i] = walk + 1;
			i = config->outbounds[i].detour;
		}
		if (i != CONFIG_NONE && trace[i] == walk + 1)
			report_cycle(report, config, first_of(config, i));
	}
	free(trace);
}

static void check_depth(struct report *report, const struct config *config, size_t start)
{
	WITH_PLACE(place, start);
	size_t depth = 0;

	for (size_t i = start;
	     config->outbounds[i].detour != CONFIG_NONE && depth <= DETOUR_MAX + 1;
	     i = config->outbounds[i].detour)
		depth++;
	if (depth == DETOUR_MAX + 1) /* those before it are too long because it is */
		report_error(report, AT_VALUE(&place), "more than %u detours in a row",
			     (unsigned)DETOUR_MAX);
}

void detour_check(struct report *report, struct config *config, const struct tags *tags)
{
	for (size_t i = 0; i < config->outbound_count; i++)
		resolve(report, config, tags, i);
	find_cycles(report, config);
	if (report->result == -ENOMEM)
		return;
	for (size_t i = 0; i < config->outbound_count; i++)
		check_depth(report, config, i);
}

size_t detour_end(const struct config *config, size_t index)
{
	while (config->outbounds[index].detour != CONFIG_NONE)
		index = config->outbounds[index].detour;
	return index;
}
