#include "proto/dns_message.h"
#include <string.h>
#include "proto/cursor.h"
#include "proto/sniff.h"

#define NAME_BYTES   255
#define LABEL_BYTES  63
#define POINTER      0xc0
#define NOT_OF_QUERY 0xf8 /* in the third byte: QR and opcode */
#define RCODE        0x0f /* in the fourth */

bool dns_message_may_be_query(const uint8_t *data, size_t len)
{
	if (len > 2 && data[2] & NOT_OF_QUERY)
		return false;
	if (len > 3 && data[3] & RCODE)
		return false;
	if (len > 5 && !data[4] && !data[5])
		return false;
	return (len <= 6 || !data[6]) && (len <= 7 || !data[7]);
}

/* Where a pointer leads to is not followed, but it is before the name that it ends. @message: NULL where
 * there cannot be one. */
static void skip_name(struct cursor *c, const uint8_t *message)
{
	const uint8_t *start = c->at;

	while (!c->bad) {
		uint32_t length = cursor_get(c, 1);

		if (length >= POINTER) {
			uint32_t target = (length - POINTER) << 8 | cursor_get(c, 1);

			if (!message || target < DNS_MESSAGE_HEADER ||
			    target >= (size_t)(start - message))
				c->bad = true;
			return;
		}
		if (!length)
			return;
		if (length > LABEL_BYTES || c->at - start + length >= NAME_BYTES)
			c->bad = true;
		(void)cursor_take(c, length);
	}
}

/* A name that was found whole and without pointers, from its labels; a dot in one makes it no name. */
static void read_name(const uint8_t *from, char *ret_name)
{
	uint8_t text[NAME_BYTES];
	size_t len = 0;

	ret_name[0] = '\0';
	while (*from) {
		if (memchr(from + 1, '.', *from))
			return;
		memcpy(text + len, from + 1, *from);
		len += *from;
		text[len++] = '.';
		from += *from + 1;
	}
	(void)sniff_domain(text, len, ret_name);
}

static void skip_record(struct cursor *c, const uint8_t *message)
{
	skip_name(c, message);
	(void)cursor_take(c, 8); /* type, class, time to live */
	(void)cursor_take(c, cursor_get(c, 2));
}

bool dns_message_is_query(const uint8_t *data, size_t len, char *ret_name)
{
	struct cursor c = cursor_of(data, len);
	uint32_t questions, records;

	if (len < DNS_MESSAGE_HEADER || !dns_message_may_be_query(data, len))
		return false;
	(void)cursor_take(&c, 4); /* id, flags */
	questions = cursor_get(&c, 2);
	(void)cursor_take(&c, 2); /* answers */
	records = cursor_get(&c, 2);
	records += cursor_get(&c, 2);
	for (uint32_t i = 0; i < questions && !c.bad; i++) {
		skip_name(&c, i ? data : NULL);
		(void)cursor_take(&c, 4); /* type, class */
	}
	for (uint32_t i = 0; i < records && !c.bad; i++)
		skip_record(&c, data);
	if (c.bad || c.at != c.end)
		return false;
	read_name(data + DNS_MESSAGE_HEADER, ret_name);
	return true;
}
