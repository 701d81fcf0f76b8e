/* verbs - the table of what can be typed, and how people are shown the answers. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Prints the data of an answer, or of an event. */
typedef void verb_fn(const json_t *data);

struct verb {
	const char *name; /* one or two words: the command in the protocol */
	const char *help;
	const char *operand;  /* NULL: takes none */
	const char *argument; /* what the protocol calls it */
	bool is_number, filters, streams;
	verb_fn *show; /* NULL: help */
};

/* Takes words off the front of @words, up to the NULL. NULL: there is no such verb, and it was said. */
const struct verb *verb_find(char ***words);
int verbs_usage(FILE *out, int code); /* returns @code */

verb_fn show_status, show_flows, show_flow, show_killed, show_event, show_interfaces, show_metrics,
	show_log, show_version;
