/* text - the bytes of a configuration file, and a copy of equal length whose comments are blanked.
 *
 * Offsets are the same in both, so a place found in one can be shown in the other.
 */
#pragma once
#include <stddef.h>

#define TEXT_BYTES_MAX (16U << 20) /* a list of a million domains */
#define TEXT_DEPTH_MAX 32          /* of brackets; bounds every recursion over a configuration */

struct text {
	char *raw;  /* as read */
	char *json; /* comments are spaces; NULL before text_blank() */
	size_t len;
};

struct text_place {
	size_t offset;
	unsigned line, column; /* from 1; a column is a character (code point), so a tab is one */
};

/* Reads @path ("-": standard input). 0 or -errno; -EFBIG: more than TEXT_BYTES_MAX. */
int text_read(struct text *text, const char *path);
/* Reads @path, which must be a file: -EISDIR; -ESPIPE: something else. */
int text_read_file(struct text *text, const char *path);
/* Makes text->json. 0 or -ENOMEM; or -EINVAL with what is wrong and where. */
int text_blank(struct text *text, const char **ret_reason, size_t *ret_offset);
void text_deinit(struct text *text);
/* Where @offset is. @place: that of another offset of this text, or zeroed. */
void text_find(const struct text *text, size_t offset, struct text_place *place);
/* How many bytes of a number, true, false, null or the like are at @word. */
size_t text_word_len(const char *word);
