/* position - where in the text a key or a value stands; jansson forgets it.
 *
 * Works on text->json, and keeps only the way to the last place: errors in the order of the text cost
 * one scan together, a good file none.
 * The text need not be valid: what cannot be followed ends the search.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "config/text.h"

/* One step of a JSON pointer, on the stack of whoever walks the tree. */
struct place {
	const struct place *up; /* NULL: the document itself */
	const char *key;        /* NULL: element @index of a list */
	size_t index;
};

/* A value that was found in the object or list at @bracket. */
struct position_step {
	size_t bracket, index;
	size_t key, value; /* offsets; in a list both are the value's. 0: nothing was found */
};

/* For one text; zeroed at first. */
struct position_memo {
	struct position_step steps[TEXT_DEPTH_MAX + 1]; /* by depth */
};

/* The offset of the value, or with @at_key of its key. What is not there is shown at the nearest
 * value around it. Of two equal keys the last counts. 0 or -ENOMEM. */
int position_find(const struct text *text, struct position_memo *memo, const struct place *place,
		  bool at_key, size_t *ret_offset);

/* Calls @found for every key that its object already has, in the order of the text. 0 or -ENOMEM. */
typedef void position_fn(void *arg, const struct place *place, size_t offset);
int position_duplicates(const struct text *text, position_fn *found, void *arg);

/* Where the token begins that a parser had read when it stopped at @end; inside of a string the
 * character that it did not like. */
size_t position_token(const struct text *text, size_t end);
