/* show - what people read: numbers with units, clean text, aligned columns. */
#pragma once
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Members of an answer; 0 and "" where there is none. */
uint64_t show_number(const json_t *object, const char *name);
const char *show_string(const json_t *object, const char *name);

#define SHOW_MAX 32
const char *show_bytes(uint64_t bytes, char *buf); /* "980", "1.5 KiB"; into @buf of SHOW_MAX */
const char *show_time(uint64_t ms, char *buf);     /* "0.3s", "4m05s", "2d03h" */

/* Prints @text; control characters, which a terminal would obey, become '?'. */
void show_text(const char *text);
/* The same for several lines. */
void show_lines(const char *text);

/* On standard error: seamctl: WHAT "WORD", both clean; @word NULL: without. */
void show_complaint(const char *what, const char *word);

/* Columns as wide as their widest cell. Those whose heading begins with '>' are aligned to the right. */
struct table {
	char **cells;
	size_t columns, count, size;
};

void table_init(struct table *table, const char *const *headings, size_t columns);
void table_put(struct table *table, const char *text); /* the next cell, row by row */
void table_put_number(struct table *table, uint64_t number);
void table_print(struct table *table); /* and frees it */
