/* walk - over the records of a message, in order, without a look into them. */
#include <errno.h>
#include "dns/message.h"
#include "dns/wire.h"

#define COUNTS_AT 4 /* of the header: questions, then the sections */

int dns_name_skip(const uint8_t *message, size_t size, size_t *at)
{
	size_t pos = *at;

	while (pos < size) {
		unsigned length = message[pos++];

		if (length >= 0xc0) { /* a pointer: the second byte is the rest of it */
			if (pos == size)
				return -EBADMSG;
			*at = pos + 1;
			return 0;
		}
		if (!length) {
			*at = pos;
			return 0;
		}
		if (length > 63 || size - pos < length)
			return -EBADMSG;
		pos += length;
	}
	return -EBADMSG;
}

int dns_walk_begin(struct dns_walk *walk, const uint8_t *message, size_t size)
{
	struct dns_walk w = { .message = message, .size = size, .at = DNS_HEADER_SIZE };

	if (size < DNS_HEADER_SIZE)
		return -EBADMSG;
	for (size_t i = 0; i < DNS_SECTION_COUNT; i++)
		w.counts[i] = wire_get16(message + COUNTS_AT + 2 + 2 * i);
	for (unsigned left = wire_get16(message + COUNTS_AT); left; left--) {
		if (dns_name_skip(message, size, &w.at) < 0 || size - w.at < 4)
			return -EBADMSG;
		w.at += 4;
	}
	*walk = w;
	return 0;
}

#define RECORD_FIXED 10 /* type, class, TTL, length */

int dns_walk_next(struct dns_walk *walk, struct dns_record *ret)
{
	const uint8_t *message = walk->message;
	struct dns_record record = { .start = walk->at };
	size_t at = walk->at;

	while (walk->section < DNS_SECTION_COUNT && walk->index == walk->counts[walk->section]) {
		walk->section++;
		walk->index = 0;
	}
	if (walk->section == DNS_SECTION_COUNT)
		return 0;
	if (dns_name_skip(message, walk->size, &at) < 0 || walk->size - at < RECORD_FIXED)
		return -EBADMSG;
	record.section = (enum dns_section)walk->section;
	record.index = walk->index;
	record.type = wire_get16(message + at);
	record.class = wire_get16(message + at + 2);
	record.ttl_at = at + 4;
	record.ttl_s = wire_get32(message + record.ttl_at);
	if (record.ttl_s > INT32_MAX && record.type != DNS_RECORD_OPT)
		record.ttl_s = 0;
	record.data = at + RECORD_FIXED;
	record.data_size = wire_get16(message + at + 8);
	if (walk->size - record.data < record.data_size)
		return -EBADMSG;
	walk->at = record.data + record.data_size;
	walk->index++;
	*ret = record;
	return 1;
}
