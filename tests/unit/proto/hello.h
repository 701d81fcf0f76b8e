/* hello - ClientHellos to measure, for the tests of proto. Not what a client would send in detail: extensions
 * of one unknown type fill it up.
 */
#pragma once
#include "common.h"

#define HELLO_MAX (17 * 1024)

struct hello_plan {
	const char *name;   /* NULL: no such extension; "": an empty one */
	size_t size;        /* of the message with its head, at least; 0: no matter */
	bool name_last;     /* after what fills it up */
	size_t records;     /* 0: one */
	const char *behind; /* another record behind the hello */
};

struct hello {
	uint8_t data[HELLO_MAX];
	size_t len;
	size_t bytes; /* of the hello alone */
};

static inline void hello_put(struct hello *h, size_t value, size_t bytes)
{
	while (bytes--)
		h->data[h->len++] = (uint8_t)(value >> 8 * bytes);
}

static inline void hello_text(struct hello *h, const char *text, size_t len)
{
	memcpy(h->data + h->len, text, len);
	h->len += len;
}

static inline void hello_name(struct hello *h, const char *name)
{
	size_t len = name ? strlen(name) : 0;

	if (!name)
		return;
	hello_put(h, 0, 2);
	hello_put(h, len ? len + 5 : 0, 2);
	if (!len)
		return;
	hello_put(h, len + 3, 2);
	hello_put(h, 0, 1);
	hello_put(h, len, 2);
	hello_text(h, name, len);
}

static inline void hello_fill(struct hello *h, size_t bytes)
{
	bytes = bytes > 4 ? bytes - 4 : 0;
	hello_put(h, 0x0a0a, 2); /* GREASE, RFC 8701 */
	hello_put(h, bytes, 2);
	for (size_t i = 0; i < bytes; i++)
		hello_put(h, i * 7 + 1, 1);
}

static inline void hello_message(struct hello *h, const struct hello_plan *plan)
{
	size_t name = plan->name ? strlen(plan->name) + 9 : 0, fixed = 4 + 2 + 32 + 1 + 4 + 2 + 2,
	       at;

	h->len = 0;
	hello_put(h, 1, 1);
	hello_put(h, 0, 3);
	hello_put(h, 0x0303, 2);
	for (size_t i = 0; i < 32; i++)
		hello_put(h, i, 1);
	hello_put(h, 0, 1);
	hello_put(h, 0x00021301, 4);
	hello_put(h, 0x0100, 2);
	at = h->len;
	hello_put(h, 0, 2);
	if (!plan->name_last)
		hello_name(h, plan->name);
	hello_fill(h, plan->size > fixed + name ? plan->size - fixed - name : 0);
	if (plan->name_last)
		hello_name(h, plan->name);
	h->data[at] = (uint8_t)((h->len - at - 2) >> 8);
	h->data[at + 1] = (uint8_t)(h->len - at - 2);
	h->data[2] = (uint8_t)((h->len - 4) >> 8);
	h->data[3] = (uint8_t)(h->len - 4);
}

/* @message as records that end at @ends (the last is its end). */
static inline void hello_wrap(struct hello *ret, const struct hello *message, const size_t *ends,
			      size_t count)
{
	size_t at = 0;

	ret->len = 0;
	for (size_t i = 0; i < count; at = ends[i++]) {
		hello_put(ret, 0x160301, 3);
		hello_put(ret, ends[i] - at, 2);
		hello_text(ret, (const char *)message->data + at, ends[i] - at);
	}
	ret->bytes = ret->len;
}

/* Records of about one size. */
static inline void hello_build(struct hello *ret, const struct hello_plan *plan)
{
	size_t ends[64], count = plan->records ? plan->records : 1;
	struct hello message;

	hello_message(&message, plan);
	for (size_t i = 0; i < count; i++)
		ends[i] = message.len * (i + 1) / count;
	hello_wrap(ret, &message, ends, count);
	if (plan->behind)
		hello_text(ret, plan->behind, strlen(plan->behind));
}
