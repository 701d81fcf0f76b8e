#include "config/detour.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "config/group.h"

#define TEXT_OF_(number) #number
#define TEXT_OF(number)  TEXT_OF_(number)
#define DETOUR_MAX_TEXT  TEXT_OF(DETOUR_MAX)

#define SHOWN_MAX        (DETOUR_MAX + 1) /* tags of a cycle that are named */
#define TEXT_BYTES       1024 /* SHOWN_MAX tags, whose length form_tag() limits, and arrows */

static const struct place document, outbounds = { .up = &document, .key = "outbounds" };

void detour_check_override(struct report *report, const struct config_outbound *to,
			   const struct place *place)
{
	if (to->override_address || to->override_port)
		report_error(report, AT_VALUE(place),
			     "\"%s\" has %s, which works only where a rule or route.final names it",
			     to->tag, to->override_address ? "override_address" : "override_port");
}

static void resolve(struct report *report, struct config *config, const struct tags *tags, size_t i)
{
	struct config_outbound *outbound = &config->outbounds[i];
	struct place element = { .up = &outbounds, .index = i };
	struct place place = { .up = &element, .key = "detour" };
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
	if (outbound->detour != CONFIG_NONE)
		detour_check_override(report, &config->outbounds[to], &place);
}

/* The ways that go on from outbound @i: its detour, then the members of a group. */
static size_t way_count(const struct config *config, size_t i)
{
	return 1 + config->outbounds[i].group.members.count;
}

static size_t *way_of(struct config *config, size_t i, size_t way)
{
	struct config_outbound *outbound = &config->outbounds[i];

	return way ? &outbound->group.members.list[way - 1] : &outbound->detour;
}

struct step {
	size_t outbound, way;
};

struct walk {
	struct report *report;
	const json_t *root;
	struct config *config;
	struct step *steps; /* from where the walk began to where it is */
	size_t depth;
	enum { NOT_SEEN, ON_THE_WAY, DONE } * states;
	size_t *heights; /* the longest way from there on */
};

static void report_at(const struct walk *walk, size_t i, size_t way, const char *format,
		      const char *text)
{
	const json_t *object = json_array_get(json_object_get(walk->root, outbounds.key), i);
	struct place element = { .up = &outbounds, .index = i };
	struct place detour = { .up = &element, .key = "detour" };
	struct place list = { .up = &element, .key = "outbounds" };
	struct place member = { .up = &list, .index = way - 1 };

	bool is_list = json_is_array(json_object_get(object, list.key));

	report_error(walk->report,
		     AT_VALUE(!way      ? &detour
			      : is_list ? &member
					: &list),
		     format, text);
}

/* Reports the circle of @count @steps at the first of them in the file, and breaks all of it up. */
static void report_circle(struct walk *walk, const struct step *steps, size_t count)
{
	const struct config_outbound *list = walk->config->outbounds;
	char text[TEXT_BYTES] = "";
	size_t first = 0, used = 0;

	for (size_t i = 1; i < count; i++)
		if (steps[i].outbound < steps[first].outbound)
			first = i;
	for (size_t i = 0; i < count; i++) {
		const struct step *step = &steps[(first + i) % count];

		if (i <= SHOWN_MAX)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s -> ",
						 i < SHOWN_MAX ? list[step->outbound].tag : "...");
		*way_of(walk->config, step->outbound, step->way) = CONFIG_NONE;
	}
	(void)snprintf(text + used, sizeof(text) - used, "%s", list[steps[first].outbound].tag);
	report_at(walk, steps[first].outbound, steps[first].way, "detours in a circle: %s", text);
}

static void visit(struct walk *walk, size_t i);

/* Follows one way, at the end of @walk->steps. */
static void follow(struct walk *walk, size_t *height)
{
	struct step *step = &walk->steps[walk->depth - 1];
	const size_t *to = way_of(walk->config, step->outbound, step->way);
	size_t start = walk->depth - 1;

	if (*to != CONFIG_NONE && walk->states[*to] == NOT_SEEN)
		visit(walk, *to);
	if (*to == CONFIG_NONE)
		return;
	if (walk->states[*to] == ON_THE_WAY) {
		while (walk->steps[start].outbound != *to)
			start--;
		report_circle(walk, &walk->steps[start], walk->depth - start);
	} else if (walk->heights[*to] >= *height) {
		*height = walk->heights[*to] + 1;
		if (*height == DETOUR_MAX + 1) /* those before it are too long because it is */
			report_at(walk, step->outbound, step->way, "more than %s detours in a row",
				  DETOUR_MAX_TEXT);
	}
}

static void visit(struct walk *walk, size_t i)
{
	struct step *step = &walk->steps[walk->depth++];

	step->outbound = i;
	walk->states[i] = ON_THE_WAY;
	for (step->way = 0; step->way < way_count(walk->config, i); step->way++)
		follow(walk, &walk->heights[i]);
	walk->states[i] = DONE;
	walk->depth--;
}

static void find_circles(struct report *report, const json_t *root, struct config *config)
{
	size_t count = config->outbound_count;
	struct walk walk = { .report = report, .root = root, .config = config };

	walk.steps = calloc(count + 1, sizeof(*walk.steps));
	walk.states = calloc(count + 1, sizeof(*walk.states));
	walk.heights = calloc(count + 1, sizeof(*walk.heights));
	if (!walk.steps || !walk.states || !walk.heights)
		report->result = -ENOMEM;
	for (size_t i = 0; report->result != -ENOMEM && i < count; i++)
		if (walk.states[i] == NOT_SEEN)
			visit(&walk, i);
	free(walk.steps);
	free(walk.states);
	free(walk.heights);
}

void detour_check(struct report *report, const json_t *root, struct config *config,
		  const struct tags *tags)
{
	for (size_t i = 0; i < config->outbound_count; i++) {
		resolve(report, config, tags, i);
		group_check(report, root, config, tags, i);
	}
	if (report->result != -ENOMEM)
		find_circles(report, root, config);
}

size_t detour_end(const struct config *config, size_t index)
{
	while (config->outbounds[index].detour != CONFIG_NONE)
		index = config->outbounds[index].detour;
	return index;
}
