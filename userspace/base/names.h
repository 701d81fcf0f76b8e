/* names - tables from an enum to the words that logs, counters and ctl use for it. */
#pragma once
#include <stddef.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

#define NAME_TABLE(table, count, ...)                \
	const char *const table[] = { __VA_ARGS__ }; \
	_Static_assert(ARRAY_SIZE(table) == (count), #table " and its enum differ")

/* The value whose name is @word, or -1. */
int names_find(const char *const *table, size_t count, const char *word);
/* The name nearest to @word by edit distance, or NULL when none is near enough to suggest. */
const char *names_near(const char *const *table, size_t count, const char *word);
