#include "ctl/call.h"
#include "base/names.h"
#include "ctl/commands.h"
#include "seam/ctl.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 4 /* a request is an object of scalars */

int call_fail(struct call *call, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(call->error, sizeof(call->error), format, args);
	va_end(args);
	return -EINVAL;
}

int call_no_such(struct call *call, const char *what, const char *word, const char *const *words,
		 size_t count)
{
	const char *near = names_near(words, count, word);
	size_t len;

	if (near)
		return call_fail(call, "no %s \"%.64s\" (did you mean \"%.64s\"?)", what, word,
				 near);
	call_fail(call, "no %s \"%.64s\"", what, word);
	for (size_t i = 0; i < count; i++) {
		len = strlen(call->error);
		snprintf(call->error + len, sizeof(call->error) - len, "%s%.64s",
			 i ? ", " : ": there are ", words[i]);
	}
	return -EINVAL;
}

/* jansson would go 2048 deep. */
static bool is_too_deep(const char *line, size_t bytes)
{
	bool in_string = false;
	int depth = 0;

	for (size_t i = 0; i < bytes; i++) {
		if (in_string && line[i] == '\\')
			i++;
		else if (line[i] == '"')
			in_string = !in_string;
		else if (in_string)
			continue;
		else if (line[i] == '{' || line[i] == '[')
			depth++;
		else if (line[i] == '}' || line[i] == ']')
			depth--;
		if (depth > DEPTH_MAX)
			return true;
	}
	return false;
}

static int check_frame(struct call *call)
{
	const json_t *version = json_object_get(call->request, "v");
	const json_t *id = json_object_get(call->request, "id");

	if (!json_is_object(call->request))
		return call_fail(call, "a request is a JSON object");
	if (id && !json_is_integer(id) && !json_is_string(id)) {
		json_object_del(call->request, "id");
		return call_fail(call, "\"id\" is a number or a string");
	}
	if (!json_is_integer(version) || json_integer_value(version) != SEAM_CTL_VERSION)
		return call_fail(
			call, "\"v\" must be %d, the version of the protocol that is spoken here",
			SEAM_CTL_VERSION);
	return 0;
}

static int find_command(struct call *call)
{
	const json_t *name = json_object_get(call->request, "cmd");
	const char *words[COMMANDS_MAX];

	if (!json_is_string(name))
		return call_fail(call, "\"cmd\" must be the name of a command");
	for (size_t i = 0; i < command_count; i++) {
		words[i] = commands[i].name;
		if (!strcmp(words[i], json_string_value(name)))
			call->command = &commands[i];
	}
	if (!call->command)
		return call_no_such(call, "command", json_string_value(name), words, command_count);
	return 0;
}

static const struct argument *find_argument(const struct command *command, const char *name)
{
	for (size_t i = 0; i < ARGUMENTS_MAX && command->arguments[i].name; i++)
		if (!strcmp(command->arguments[i].name, name))
			return &command->arguments[i];
	return NULL;
}

static int check_argument(struct call *call, const char *name, const json_t *value)
{
	const struct argument *argument = find_argument(call->command, name);
	const char *words[ARGUMENTS_MAX];
	size_t count = 0;

	if (!argument) {
		while (count < ARGUMENTS_MAX && call->command->arguments[count].name) {
			words[count] = call->command->arguments[count].name;
			count++;
		}
		return call_no_such(call, "argument", name, words, count);
	}
	if (argument->type == ARGUMENT_NUMBER && !json_is_integer(value))
		return call_fail(call, "\"%s\" must be a whole number", name);
	if (argument->type == ARGUMENT_STRING && !json_is_string(value))
		return call_fail(call, "\"%s\" must be a string", name);
	return 0;
}

static int check_arguments(struct call *call)
{
	static const char *const frame[] = { "v", "id", "cmd" };
	const char *name;
	json_t *value;

	json_object_foreach (call->request, name, value) {
		if (names_find(frame, ARRAY_SIZE(frame), name) >= 0)
			continue;
		if (check_argument(call, name, value))
			return -EINVAL;
	}
	for (size_t i = 0; i < ARGUMENTS_MAX && call->command->arguments[i].name; i++) {
		const struct argument *argument = &call->command->arguments[i];

		if (argument->required && !json_object_get(call->request, argument->name))
			return call_fail(call, "\"%s\" is missing: %s", argument->name,
					 argument->help);
	}
	return 0;
}

int call_init(struct call *call, const struct ctl_context *context, const char *line, size_t bytes)
{
	json_error_t error;

	*call = (struct call){ .context = context };
	if (is_too_deep(line, bytes))
		return call_fail(call, "the request is nested too deep");
	call->request = json_loadb(line, bytes, JSON_REJECT_DUPLICATES, &error);
	if (!call->request)
		return call_fail(call, "not JSON: byte %d: %s", error.position, error.text);
	if (check_frame(call) || find_command(call) || check_arguments(call)) {
		call->command = NULL;
		return -EINVAL;
	}
	return 0;
}

void call_deinit(struct call *call)
{
	if (call->task)
		call->task->free(call->task);
	json_decref(call->request);
	*call = (struct call){ 0 };
}

/* A word of the request may have been cut inside a character. */
static json_t *error_text(const char *error)
{
	char text[CALL_ERROR_MAX];
	json_t *string = json_string(error);

	if (string)
		return string;
	snprintf(text, sizeof(text), "%s", error);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	return json_string(text);
}

static void put_head(const json_t *id, bool ok, struct out *out)
{
	out_print(out, "{\"v\":%d,", SEAM_CTL_VERSION);
	if (id) {
		out_print(out, "\"id\":");
		out_json(out, id);
		out_print(out, ",");
	}
	out_print(out, "\"ok\":%s,\"%s\":", ok ? "true" : "false", ok ? "data" : "error");
}

static void put_error(const json_t *id, const char *error, struct out *out)
{
	json_t *text = error_text(error);

	put_head(id, false, out);
	out_json(out, text);
	out_put(out, "}\n", 2);
	json_decref(text);
}

void call_answer(struct call *call, struct out *out)
{
	const json_t *id = json_object_get(call->request, "id");
	size_t start = out->len;

	if (!call->command) {
		put_error(id, call->error, out);
		return;
	}
	put_head(id, true, out);
	if (call->command->run(call, out)) {
		out_cut(out, start);
		put_error(id, call->error, out);
		return;
	}
	out_put(out, "}\n", 2);
}

void call_refuse(const char *error, struct out *out)
{
	put_error(NULL, error, out);
}

const char *call_string(const struct call *call, const char *name)
{
	return json_string_value(json_object_get(call->request, name));
}

json_int_t call_number(const struct call *call, const char *name)
{
	return json_integer_value(json_object_get(call->request, name));
}
