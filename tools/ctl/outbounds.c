/* outbounds list, outbounds select, outbounds test */
#include "base/names.h"
#include "show.h"
#include "verbs.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const list_headings[] = { "TAG", "TYPE", "MEMBERS", "WAY" };
static const char *const test_headings[] = { "OUTBOUND", ">MS", ">STATUS", "RESULT" };

static const char *text_of(const json_t *value)
{
	return json_is_string(value) ? json_string_value(value) : "?";
}

/* "fibre* 23 ms": the star is at the one that is selected. */
static void write_member(FILE *cell, const json_t *member, const char *selected)
{
	const char *tag = show_string(member, "tag"), *test = show_string(member, "test");

	fprintf(cell, "%s%s", tag, strcmp(tag, selected) ? "" : "*");
	if (!strcmp(test, "ok"))
		fprintf(cell, " %" PRIu64 " ms", show_number(member, "delay_ms"));
	else if (!strcmp(test, "failed"))
		fprintf(cell, " failed");
}

static void write_members(FILE *cell, const json_t *outbound)
{
	const json_t *member;
	size_t i;

	json_array_foreach (json_object_get(outbound, "members"), i, member) {
		fprintf(cell, "%s", i ? ", " : "");
		write_member(cell, member, show_string(outbound, "selected"));
	}
}

static void write_chain(FILE *cell, const json_t *outbound)
{
	const json_t *tag;
	size_t i;

	json_array_foreach (json_object_get(outbound, "chain"), i, tag)
		fprintf(cell, "%s%s", i ? " -> " : "", text_of(tag));
}

static void put_cell(struct table *table, const json_t *outbound,
		     void (*write)(FILE *cell, const json_t *outbound))
{
	char *text = NULL;
	size_t size;
	FILE *cell = open_memstream(&text, &size);

	if (cell) {
		write(cell, outbound);
		fclose(cell);
	}
	table_put(table, !text ? "?" : *text ? text : "-");
	free(text);
}

void show_outbounds(const json_t *data)
{
	struct table table;
	const json_t *outbound;
	size_t i;

	table_init(&table, list_headings, ARRAY_SIZE(list_headings));
	json_array_foreach (data, i, outbound) {
		table_put(&table, show_string(outbound, "tag"));
		table_put(&table, show_string(outbound, "type"));
		put_cell(&table, outbound, write_members);
		put_cell(&table, outbound, write_chain);
	}
	table_print(&table);
}

void show_selected(const json_t *data)
{
	show_text(show_string(data, "group"));
	printf(" goes by ");
	show_text(show_string(data, "selected"));
	printf(", was ");
	show_text(show_string(data, "was"));
	putchar('\n');
}

/* What went wrong, and what was tried. */
static void write_result(FILE *cell, const json_t *test)
{
	const json_t *attempt;
	size_t i;

	fprintf(cell, "%s", show_string(test, "error"));
	if (json_is_true(json_object_get(test, "ok")))
		return;
	json_array_foreach (json_object_get(test, "attempts"), i, attempt) {
		const char *address = show_string(attempt, "address");
		const char *interface = show_string(attempt, "interface");

		fprintf(cell, "; %s%s%s: %s", *address ? address : show_string(attempt, "step"),
			*interface ? " by " : "", interface, show_string(attempt, "result"));
	}
}

void show_tests(const json_t *data)
{
	struct table table;
	const json_t *test;
	char number[SHOW_MAX];
	size_t i;

	table_init(&table, test_headings, ARRAY_SIZE(test_headings));
	json_array_foreach (data, i, test) {
		bool answered = show_number(test, "status") != 0;

		table_put(&table, show_string(test, "outbound"));
		snprintf(number, sizeof(number), "%" PRIu64, show_number(test, "ms"));
		table_put(&table, answered ? number : "-");
		snprintf(number, sizeof(number), "%" PRIu64, show_number(test, "status"));
		table_put(&table, answered ? number : "-");
		put_cell(&table, test, write_result);
	}
	table_print(&table);
}
