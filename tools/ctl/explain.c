/* explain */
#include "show.h"
#include "verbs.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void show_rule(json_int_t rule, const char *action)
{
	if (rule < 0)
		printf("rule      none (route.final): ");
	else
		printf("rule      %" JSON_INTEGER_FORMAT " (route.rules[%" JSON_INTEGER_FORMAT
		       "]): ",
		       rule, rule);
	show_text(action);
}

static void show_steps(const json_t *steps)
{
	const json_t *step;
	size_t i;

	json_array_foreach (steps, i, step) {
		show_rule(json_integer_value(json_object_get(step, "rule")),
			  show_string(step, "action"));
		printf(": ");
		show_text(show_string(step, "result"));
		putchar('\n');
	}
}

static void show_value(const json_t *value)
{
	const json_t *item;
	size_t i;

	if (json_is_string(value))
		show_text(json_string_value(value));
	else if (json_is_integer(value))
		printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	json_array_foreach (value, i, item) {
		printf("%s", i ? "+" : "");
		show_text(json_is_string(item) ? json_string_value(item) : "?");
	}
}

static void show_member(const char *name, const json_t *value)
{
	if (!strcmp(name, "routing_mark")) {
		printf("mark %#" PRIx64, (uint64_t)json_integer_value(value));
		return;
	}
	show_text(strcmp(name, "bind_interface") != 0 ? name : "interface");
	if (json_is_true(value))
		return;
	putchar(' ');
	show_value(value);
}

static void show_members(const char *heading, const json_t *object)
{
	const char *name, *separator = "";
	json_t *value;

	if (!json_object_size(object))
		return;
	printf("%-10s", heading);
	json_object_foreach ((json_t *)object, name, value) {
		printf("%s", separator);
		show_member(name, value);
		separator = ", ";
	}
	putchar('\n');
}

static void show_chain(const json_t *chain)
{
	const json_t *tag;
	size_t i;

	json_array_foreach (chain, i, tag) {
		printf("%s", i ? " -> " : "");
		show_text(json_is_string(tag) ? json_string_value(tag) : "?");
	}
}

void show_explain(const json_t *data)
{
	const char *method = show_string(data, "method");

	show_steps(json_object_get(data, "steps"));
	show_rule(json_integer_value(json_object_get(data, "rule")), show_string(data, "action"));
	if (*method) {
		printf(", ");
		show_text(method);
	}
	if (*show_string(data, "outbound")) {
		printf("\noutbound  ");
		show_chain(json_object_get(data, "chain"));
		printf("\ntarget    ");
		show_text(show_string(data, "target"));
	}
	putchar('\n');
	show_members("options", json_object_get(data, "options"));
	show_members("sockets", json_object_get(data, "sockets"));
}
