/* dns_stream - DNS over TCP: a message after its length in two bytes (RFC 1035 4.2.2). */
#include <string.h>
#include "proto/cursor.h"
#include "proto/dns_message.h"
#include "proto/sniff.h"

#define PREFIX       2
#define QUESTION_MIN 5 /* the root, type, class */

enum sniff_result dns_sniff_stream(const uint8_t *data, size_t len, struct sniff *ret)
{
	struct cursor c = cursor_of(data, len);
	char name[SNIFF_DOMAIN_MAX];
	uint32_t size;

	if (len < PREFIX)
		return SNIFF_MORE;
	size = cursor_get(&c, PREFIX);
	if (size < DNS_MESSAGE_HEADER + QUESTION_MIN || size > SNIFF_STREAM_MAX - PREFIX ||
	    !dns_message_may_be_query(c.at, cursor_left(&c)))
		return SNIFF_NO;
	if (cursor_left(&c) < size)
		return SNIFF_MORE;
	if (!dns_message_is_query(c.at, size, name))
		return SNIFF_NO;
	*ret = (struct sniff){ .protocol = PROTOCOL_DNS };
	memcpy(ret->domain, name, sizeof(name));
	return SNIFF_YES;
}
