/* cursor - reads bytes that others wrote: never past the end, and @bad sticks, so that a parser asks
 * once.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const uint8_t *at, *end;
	bool bad; /* more was asked for than there is; what is read from then on is 0 */
};

static inline struct cursor cursor_of(const uint8_t *data, size_t len)
{
	return (struct cursor){ .at = data, .end = len ? data + len : data };
}

static inline size_t cursor_left(const struct cursor *c)
{
	return (size_t)(c->end - c->at);
}

/* The next @bytes, which are passed; NULL: there are not so many, and nothing is left. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t bytes)
{
	const uint8_t *from = c->at;

	if (c->bad || cursor_left(c) < bytes) {
		c->bad = true;
		c->at = c->end;
		return NULL;
	}
	c->at += bytes;
	return from;
}

/* A number of at most 4 bytes in network order. */
static inline uint32_t cursor_get(struct cursor *c, size_t bytes)
{
	const uint8_t *from = cursor_take(c, bytes);
	uint32_t value = 0;

	for (size_t i = 0; from && i < bytes; i++)
		value = value << 8 | from[i];
	return value;
}
