/* commands - the one table of what can be asked: names, arguments, and who answers. */
#pragma once
#include "ctl/call.h"

#define COMMANDS_MAX  20
#define ARGUMENTS_MAX 10

enum argument_type { ARGUMENT_STRING, ARGUMENT_NUMBER };

struct argument {
	const char *name, *help;
	enum argument_type type;
	bool required;
};

struct command {
	const char *name, *help;
	struct argument arguments[ARGUMENTS_MAX]; /* until one without a name */
	bool mutating;                            /* who did it is logged */
	bool watches;      /* the connection carries events from the answer on */
	ask_work_fn *work; /* what to ask every worker before @run; NULL: nothing */
	/* Makes call->task before @run. 1: it is done; 0: it goes on, and its done() is told, never from
	 * inside; or what call_fail() returned. NULL: nothing to do before. */
	int (*begin)(struct call *call);
	/* Puts the data of the answer, one JSON value, into @out; or what call_fail() returned. */
	int (*run)(struct call *call, struct out *out);
};

extern const struct command commands[];
extern const size_t command_count;
