#include "base/names.h"
#include <limits.h>
#include <string.h>

#define WORD_MAX 64U

int names_find(const char *const *table, size_t count, const char *word)
{
	for (size_t i = 0; i < count; i++)
		if (table[i] && !strcmp(table[i], word))
			return (int)i;
	return -1;
}

/* Optimal string alignment: insertions, deletions, substitutions, and neighbours swapped. */
static unsigned distance(const char *a, const char *b)
{
	unsigned rows[3][WORD_MAX + 1];
	size_t alen = strlen(a), blen = strlen(b);

	if (alen > WORD_MAX || blen > WORD_MAX)
		return UINT_MAX;
	for (size_t j = 0; j <= blen; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= alen; i++) {
		unsigned *row = rows[i % 3], *last = rows[(i - 1) % 3], *older = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= blen; j++) {
			unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    older[j - 2] + 1 < best)
				best = older[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[alen % 3][blen];
}

const char *names_near(const char *const *table, size_t count, const char *word)
{
	const char *near = NULL;
	size_t len = strlen(word);
	unsigned best = (unsigned)(len / 3) + 1;

	for (size_t i = 0; i < count; i++) {
		unsigned d = table[i] ? distance(table[i], word) : UINT_MAX;

		if (d <= best && (!near || d < best)) {
			best = d;
			near = table[i];
		}
	}
	return near;
}
