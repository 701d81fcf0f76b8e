#include "config/tags.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/names.h"

void tags_init(struct report *report, struct tags *tags, const char *path, size_t count)
{
	tags->path = path;
	tags->count = 0;
	tags->names = calloc(count + 1, sizeof(*tags->names));
	if (tags->names)
		tags->count = count;
	else
		report->result = -ENOMEM;
}

void tags_deinit(struct tags *tags)
{
	free(tags->names);
}

static void check_name(struct report *report, const struct tags *tags, const struct place *list,
		       size_t index)
{
	struct place element = { .up = list, .index = index };
	struct place place = { .up = &element, .key = tags->key };

	for (size_t i = 0; i < index; i++) {
		if (!tags->names[i] || strcmp(tags->names[i], tags->names[index]) != 0)
			continue;
		report_error(report, AT_VALUE(&place), "%s \"%s\" is already that of %s/%zu",
			     tags->key, tags->names[i], tags->path, i);
		return;
	}
}

void tags_check(struct report *report, const struct tags *tags, const struct place *list)
{
	for (size_t i = 1; i < tags->count; i++)
		if (tags->names[i])
			check_name(report, tags, list, i);
}

size_t tags_find(struct report *report, const struct tags *tags, const char *tag,
		 const struct place *place)
{
	int index = names_find(tags->names, tags->count, tag);
	const char *near;

	if (index >= 0)
		return (size_t)index;
	near = report_full(report) ? NULL : names_near(tags->names, tags->count, tag);
	report_error(report, AT_VALUE(place), "no %s has the tag \"%s\"%s%s%s", tags->what, tag,
		     near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
	return CONFIG_NONE;
}
