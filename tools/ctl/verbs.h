/* verbs - the table of what can be typed, and how people are shown the answers. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Prints the data of an answer, or of an event. */
typedef void verb_fn(const json_t *data);

#define OPERANDS_MAX 3
#define OPTIONS_MAX  6

struct operand {
	const char *name;     /* "[NAME]": may be left out; NULL: there is no more */
	const char *argument; /* what the protocol calls it */
	bool is_number;
};

struct verb {
	const char *name; /* one or two words: the command in the protocol */
	const char *help;
	struct operand operands[OPERANDS_MAX];
	const char
		*options[OPTIONS_MAX]; /* that it takes, as the protocol calls them; up to NULL */
	bool streams;
	verb_fn *show; /* NULL: help */
};

/* Takes words off the front of @words, up to the NULL. NULL: there is no such verb, and it was said. */
const struct verb *verb_find(char ***words);
int verbs_usage(FILE *out, int code); /* returns @code */

verb_fn show_status, show_flows, show_flow, show_killed, show_packet_removed, show_event,
	show_interfaces, show_metrics, show_log, show_version, show_udp, show_udp_killed,
	show_explain, show_outbounds, show_selected, show_tests;
