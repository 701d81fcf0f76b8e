/* call - one request: a line of JSON that is checked against the table of commands, and its answer.
 *
 *   {"v":1,"cmd":"flows kill","flow":17}      "id", a number or a string, comes back in the answer
 */
#pragma once
#include "ctl/ask.h"
#include "ctl/out.h"
#include <jansson.h>

#define CALL_ERROR_MAX 512

struct command;

/* What a command does on the main thread before it can answer. It is the first member of what it needs. */
struct task {
	void (*free)(struct task *task); /* also while it goes on: @done does not run then */
	void (*done)(void *owner); /* once, the last thing that the task does; it may free it */
	void *owner;
};

struct call {
	const struct ctl_context *context;
	const struct command *command;
	json_t *request;       /* owned */
	const struct ask *ask; /* what the workers said, if the command asks them */
	struct task *task;     /* owned; set by the command's begin() */
	char error[CALL_ERROR_MAX];
};

/* 0; -EINVAL, and the answer says why. To be deinitialised in both cases. */
int call_init(struct call *call, const struct ctl_context *context, const char *line, size_t bytes);
void call_deinit(struct call *call); /* zeroed is fine */
/* Runs the command and puts the answer, one line, into @out; refuses if call_init() failed. */
void call_answer(struct call *call, struct out *out);
/* An answer without a request. */
void call_refuse(const char *error, struct out *out);

/* For commands. An argument that was not given is NULL. */
const char *call_string(const struct call *call, const char *name);
json_int_t call_number(const struct call *call, const char *name);
/* -EINVAL, with what the answer says. */
__attribute__((format(printf, 2, 3))) int call_fail(struct call *call, const char *format, ...);
/* The same for a word that is none of @words: with the one that was meant, or else with all of them. */
int call_no_such(struct call *call, const char *what, const char *word, const char *const *words,
		 size_t count);
