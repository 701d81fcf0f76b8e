#include "show.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t show_number(const json_t *object, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(object, name));
}

const char *show_string(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

const char *show_bytes(uint64_t bytes, char *buf)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(buf, SHOW_MAX, "%" PRIu64, bytes);
		return buf;
	}
	while (value >= 1023.95 && unit < 4) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, SHOW_MAX, "%.1f %s", value, units[unit]);
	return buf;
}

const char *show_time(uint64_t ms, char *buf)
{
	uint64_t s = ms / 1000, m = s / 60, h = m / 60;

	if (s < 60)
		snprintf(buf, SHOW_MAX, "%" PRIu64 ".%" PRIu64 "s", s, ms % 1000 / 100);
	else if (m < 60)
		snprintf(buf, SHOW_MAX, "%" PRIu64 "m%02" PRIu64 "s", m, s % 60);
	else if (h < 24)
		snprintf(buf, SHOW_MAX, "%" PRIu64 "h%02" PRIu64 "m", h, m % 60);
	else
		snprintf(buf, SHOW_MAX, "%" PRIu64 "d%02" PRIu64 "h", h / 24, h % 24);
	return buf;
}

/* C0, DEL, and C1 (U+0080 to U+009F), which begins with 0xc2 in UTF-8: its 0x9b is as good as ESC [. */
static bool is_control(const char *text, size_t *ret_bytes)
{
	unsigned char c = (unsigned char)text[0], next = (unsigned char)text[1];

	*ret_bytes = c == 0xc2 && next >= 0x80 && next < 0xa0 ? 2 : 1;
	return *ret_bytes == 2 || c < ' ' || c == 0x7f;
}

static void put_clean(FILE *out, const char *text, bool lines)
{
	size_t bytes;

	for (; *text; text += bytes) {
		bool control = is_control(text, &bytes);

		putc(control && !(lines && *text == '\n') ? '?' : *text, out);
	}
}

void show_text(const char *text)
{
	put_clean(stdout, text, false);
}

void show_lines(const char *text)
{
	put_clean(stdout, text, true);
}

void show_complaint(const char *what, const char *word)
{
	fputs("seamctl: ", stderr);
	put_clean(stderr, what, false);
	if (word) {
		fputs(" \"", stderr);
		put_clean(stderr, word, false);
		fputs("\"", stderr);
	}
	putc('\n', stderr);
}

void table_init(struct table *t, const char *const *headings, size_t columns)
{
	*t = (struct table){ .columns = columns };
	for (size_t i = 0; i < columns; i++)
		table_put(t, headings[i]);
}

void table_put(struct table *t, const char *text)
{
	if (t->count == t->size) {
		t->size = t->size ? t->size * 2 : 256;
		t->cells = realloc(t->cells, t->size * sizeof(*t->cells));
	}
	if (t->cells)
		t->cells[t->count] = strdup(text);
	if (!t->cells || !t->cells[t->count]) {
		fprintf(stderr, "seamctl: out of memory\n");
		exit(EXIT_FAILURE);
	}
	t->count++;
}

void table_put_number(struct table *t, uint64_t number)
{
	char text[SHOW_MAX];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	table_put(t, text);
}

/* In characters: bytes that do not continue one, and of a control character its first. */
static size_t width(const char *text)
{
	size_t count = 0, bytes;

	for (; *text; text += bytes) {
		(void)is_control(text, &bytes);
		count += ((unsigned char)*text & 0xc0) != 0x80;
	}
	return count;
}

static const char *heading(const char *cell)
{
	return *cell == '>' ? cell + 1 : cell;
}

static size_t column_width(const struct table *t, size_t column)
{
	size_t most = width(heading(t->cells[column]));

	for (size_t i = column + t->columns; i < t->count; i += t->columns) {
		size_t w = width(t->cells[i]);

		if (w > most)
			most = w;
	}
	return most;
}

/* Nothing but the end of the line follows the last column. */
static void print_cell(const char *text, size_t most, bool right, bool last)
{
	int padding = (int)(most - width(text));

	if (right)
		printf("%*s", padding, "");
	show_text(text);
	if (!right && !last)
		printf("%*s", padding, "");
	fputs(last ? "\n" : "  ", stdout);
}

void table_print(struct table *t)
{
	size_t *widths = calloc(t->columns, sizeof(*widths));

	for (size_t i = 0; widths && i < t->columns; i++)
		widths[i] = column_width(t, i);
	for (size_t i = 0; widths && i < t->count; i++) {
		const char *text = i < t->columns ? heading(t->cells[i]) : t->cells[i];
		size_t column = i % t->columns;

		print_cell(text, widths[column], *t->cells[column] == '>',
			   column + 1 == t->columns);
	}
	for (size_t i = 0; i < t->count; i++)
		free(t->cells[i]);
	free(t->cells);
	free(widths);
}
