/* tags - the names of the elements of one list, and references to them. */
#pragma once
#include <stddef.h>
#include "config/report.h"

struct tags {
	const char *path;   /* pointer to the list */
	const char *key;    /* of an element that is its name */
	const char *what;   /* an element is, in "no WHAT has the tag" */
	const char **names; /* NULL: the name was refused */
	size_t count;
};

/* Room for @count names of the list at @path; the names are to be put in. -ENOMEM is in the report. */
void tags_init(struct report *report, struct tags *tags, const char *path, size_t count);
void tags_deinit(struct tags *tags);
/* Reports every element of @list that is named like one before it. */
void tags_check(struct report *report, const struct tags *tags, const struct place *list);
/* The index of @tag, or CONFIG_NONE: reported at @place. */
size_t tags_find(struct report *report, const struct tags *tags, const char *tag,
		 const struct place *place);
