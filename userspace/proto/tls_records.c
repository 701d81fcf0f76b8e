#include "proto/tls_records.h"
#include <stdbool.h>
#include <string.h>

#define CONTENT_HANDSHAKE 22

/* As far as it has come. A record of a handshake is never empty (RFC 8446 5.1). */
static bool may_be_header(const uint8_t *header, size_t len)
{
	size_t size = len >= TLS_RECORD_HEADER ? (size_t)header[3] << 8 | header[4] : 1;

	return (len < 1 || header[0] == CONTENT_HANDSHAKE) && (len < 2 || header[1] == 3) &&
	       (len < 3 || (header[2] >= 1 && header[2] <= 3)) && size && size <= TLS_RECORD_MAX;
}

enum sniff_result tls_records_seek(struct tls_records *records)
{
	size_t there = records->len - records->at;

	if (!there)
		return SNIFF_MORE;
	if (records->left)
		return SNIFF_YES;
	if (!may_be_header(records->data + records->at, there))
		return SNIFF_NO;
	if (there < TLS_RECORD_HEADER)
		return SNIFF_MORE;
	records->at += TLS_RECORD_HEADER;
	records->left = (size_t)records->data[records->at - 2] << 8 |
			records->data[records->at - 1];
	records->count++;
	return there == TLS_RECORD_HEADER ? SNIFF_MORE : SNIFF_YES;
}

enum sniff_result tls_records_take(struct tls_records *records, size_t bytes, uint8_t *to)
{
	while (bytes) {
		enum sniff_result result = tls_records_seek(records);
		size_t run = records->len - records->at;

		if (result != SNIFF_YES)
			return result;
		if (run > records->left)
			run = records->left;
		if (run > bytes)
			run = bytes;
		if (to) {
			memcpy(to, records->data + records->at, run);
			to += run;
		}
		records->at += run;
		records->left -= run;
		bytes -= run;
	}
	return SNIFF_YES;
}
