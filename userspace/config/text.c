#include "config/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"

#define STEP_BYTES     4096U
#define WORD_BYTES_MAX 14U /* without quotes; see tree.c */

static int read_all(struct text *text, int fd)
{
	size_t room = 0;

	for (;;) {
		ssize_t n;

		if (text->len == room) {
			size_t more = room ? 2 * room : STEP_BYTES;
			char *grown = realloc(text->raw, more);

			if (!grown)
				return -ENOMEM;
			text->raw = grown;
			room = more;
		}
		n = read(fd, text->raw + text->len, room - text->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return 0;
		text->len += (size_t)n;
		if (text->len > TEXT_BYTES_MAX)
			return -EFBIG;
	}
}

int text_read(struct text *text, const char *path)
{
	defer_close int fd = -1;
	int from = STDIN_FILENO;

	if (strcmp(path, "-") != 0) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return -errno;
		from = fd;
	}
	return read_all(text, from);
}

int text_read_file(struct text *text, const char *path)
{
	/* opening a FIFO would wait for its other end */
	defer_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -ESPIPE;
	return read_all(text, fd);
}

void text_deinit(struct text *text)
{
	free(text->raw);
	free(text->json);
	*text = (struct text){ 0 };
}

/* The index after the string that begins at @i, or after what there is of it. */
static size_t past_string(const struct text *text, size_t i)
{
	for (i++; i < text->len && text->json[i] != '\n'; i++) {
		if (text->json[i] == '"')
			return i + 1;
		if (text->json[i] == '\\')
			i++;
	}
	return i < text->len ? i : text->len;
}

/* The index after the comment that begins at @i, now spaces; 0: it has no end. */
static size_t blank_comment(struct text *text, size_t i)
{
	const char *start = text->json + i, *close;
	size_t left = text->len - i, end;

	if (start[1] == '/') {
		close = memchr(start, '\n', left);
		end = close ? i + (size_t)(close - start) : text->len;
	} else {
		close = left > 3 ? memmem(start + 2, left - 2, "*/", 2) : NULL;
		if (!close)
			return 0;
		end = i + (size_t)(close - start) + 2;
	}
	for (; i < end; i++)
		if (text->json[i] != '\n' && text->json[i] != '\r')
			text->json[i] = ' ';
	return end;
}

static bool is_comment(const struct text *text, size_t i)
{
	return text->json[i] == '/' && i + 1 < text->len &&
	       (text->json[i + 1] == '/' || text->json[i + 1] == '*');
}

size_t text_word_len(const char *word)
{
	return strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
}

static const char *blank_comments(struct text *text, size_t *ret_offset)
{
	unsigned depth = 0;
	size_t i = 0;

	while (i < text->len) {
		char c = text->json[i];
		size_t len = text_word_len(text->json + i);

		*ret_offset = i;
		if (len > WORD_BYTES_MAX)
			return "a number with too many digits, or a string without quotes";
		if (len) {
			i += len;
			continue;
		}
		if (c == '"') {
			i = past_string(text, i);
			continue;
		}
		if (is_comment(text, i)) {
			i = blank_comment(text, i);
			if (!i)
				return "this comment has no end";
			continue;
		}
		if ((c == '{' || c == '[') && ++depth > TEXT_DEPTH_MAX)
			return "nested too deep";
		if ((c == '}' || c == ']') && depth)
			depth--;
		i++;
	}
	return NULL;
}

int text_blank(struct text *text, const char **ret_reason, size_t *ret_offset)
{
	const char *nul = memchr(text->raw, 0, text->len);
	const char *reason;
	size_t offset = 0;

	text->json = malloc(text->len + 1);
	if (!text->json)
		return -ENOMEM;
	memcpy(text->json, text->raw, text->len);
	text->json[text->len] = 0;
	if (text->len >= 3 && !memcmp(text->raw, "\xef\xbb\xbf", 3)) {
		reason = "the file begins with a byte order mark: save it as UTF-8 without one";
	} else if (nul) {
		reason = "a NUL byte: this is not text in UTF-8";
		offset = (size_t)(nul - text->raw);
	} else {
		reason = blank_comments(text, &offset);
	}
	if (!reason)
		return 0;
	*ret_reason = reason;
	*ret_offset = offset;
	return -EINVAL;
}

void text_find(const struct text *text, size_t offset, struct text_place *place)
{
	size_t i = place->offset;
	unsigned line = place->line, column = place->column;
	bool inside = i < text->len && (text->raw[i] & 0xc0) == 0x80; /* of a character */

	if (!line || i > offset || inside) {
		i = 0;
		line = column = 1;
	}
	for (; i < offset && i < text->len; i++) {
		unsigned char c = (unsigned char)text->raw[i];

		if (c == '\n') {
			line++;
			column = 1;
		} else if (offset > i + 1 && (text->raw[i + 1] & 0xc0) == 0x80) {
			continue; /* the character goes on */
		} else {
			column++;
		}
	}
	*place = (struct text_place){ offset, line, column };
}
