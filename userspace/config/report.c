#include "config/report.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROW        16U
#define QUOTE_BYTES 48U

/* The length of the UTF-8 character at @s, 0: none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_len(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* A file name or a half quoted character may be anything; what is printed is UTF-8. */
static void make_utf8(char *text)
{
	while (*text) {
		size_t len = utf8_len((unsigned char *)text);

		if (!len)
			*text = '?';
		text += len ? len : 1;
	}
}

int report_quote(const char *word)
{
	size_t len = strlen(word);

	if (len > QUOTE_BYTES)
		for (len = QUOTE_BYTES; len && (word[len] & 0xc0) == 0x80; len--)
			;
	return (int)len;
}

static void put_step(FILE *out, const struct place *place)
{
	if (!place->up)
		return;
	put_step(out, place->up);
	fputc('/', out);
	if (!place->key)
		fprintf(out, "%zu", place->index);
	for (const char *c = place->key; c && *c; c++) {
		if (*c == '~' || *c == '/') /* RFC 6901, 3 */
			fputs(*c == '~' ? "~0" : "~1", out);
		else
			fputc(*c, out);
	}
}

static char *make_pointer(const struct place *place)
{
	char *text = NULL;
	size_t len;
	FILE *out;

	if (!place)
		return strdup("");
	out = open_memstream(&text, &len);
	if (!out)
		return NULL;
	put_step(out, place);
	if (fclose(out) == EOF) {
		free(text);
		return NULL;
	}
	return text;
}

static bool is_after(const struct config_error *a, const struct config_error *b)
{
	return a->line > b->line || (a->line == b->line && a->column > b->column);
}

/* In its place among those from @first on. Takes over what @error holds. */
static int insert(struct config_errors *errors, size_t first, const struct config_error *error)
{
	size_t at = errors->count;

	if (at % GROW == 0) {
		struct config_error *list = reallocarray(errors->list, at + GROW, sizeof(*list));

		if (!list)
			return -ENOMEM;
		errors->list = list;
	}
	for (; error->line && at > first && is_after(&errors->list[at - 1], error); at--)
		errors->list[at] = errors->list[at - 1];
	errors->list[at] = *error;
	errors->count++;
	return 0;
}

static int add(struct report *report, const struct spot *spot, const char *format, va_list args)
{
	struct config_error error = { 0 };
	size_t offset = spot->offset;
	int r = -ENOMEM;

	if (spot->kind == SPOT_KEY || spot->kind == SPOT_VALUE)
		if (position_find(report->text, &report->memo, spot->place, spot->kind == SPOT_KEY,
				  &offset) < 0)
			return -ENOMEM;
	if (spot->kind != SPOT_FILE) {
		text_find(report->text, offset, &report->last);
		error.line = report->last.line;
		error.column = report->last.column;
	}
	if (vasprintf(&error.reason, format, args) < 0)
		error.reason = NULL;
	error.file = strdup(report->file);
	error.pointer = make_pointer(spot->place);
	if (error.reason && error.file && error.pointer) {
		make_utf8(error.reason);
		make_utf8(error.file);
		r = insert(report->errors, report->first, &error);
	}
	if (r < 0) {
		free(error.file);
		free(error.pointer);
		free(error.reason);
	}
	return r;
}

bool report_full(const struct report *report)
{
	return report->errors->count == REPORT_MAX;
}

void report_error(struct report *report, struct spot spot, const char *format, ...)
{
	va_list args;

	if (report->result == -ENOMEM)
		return;
	report->result = -EINVAL;
	if (report_full(report)) {
		report->dropped++;
		return;
	}
	va_start(args, format);
	if (add(report, &spot, format, args) < 0)
		report->result = -ENOMEM;
	va_end(args);
}

void report_append(struct report *report, struct config_errors *from)
{
	for (size_t i = 0; i < from->count; i++) {
		struct config_error *error = &from->list[i];

		if (insert(report->errors, report->errors->count, error) < 0) {
			report->result = -ENOMEM;
			return;
		}
		*error = (struct config_error){ 0 };
	}
}

static int add_last(struct report *report, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = add(report, &AT_FILE, format, args);
	va_end(args);
	return r;
}

int report_finish(struct report *report)
{
	if (report->dropped && report->result != -ENOMEM &&
	    add_last(report, "%zu more errors are not shown", report->dropped) < 0)
		report->result = -ENOMEM;
	return report->result;
}
