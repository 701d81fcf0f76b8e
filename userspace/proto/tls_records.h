/* tls_records - the handshake content of a stream of TLS records, as if their headers were not there.
 *
 * Looks at a record's header before its content, and never past the end of the data.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "proto/sniff.h"

#define TLS_RECORD_HEADER 5
#define TLS_RECORD_PLAIN \
	16384 /* content at most, RFC 8446 5.1; what is sent with more is accepted: */
#define TLS_RECORD_MAX 16640 /* RFC 8446 5.2 */

/* Starts as { .data, .len }. A copy goes its own way. */
struct tls_records {
	const uint8_t *data;
	size_t len;
	size_t at;    /* the next byte, counted in the stream */
	size_t left;  /* of the record's content from @at on; 0: a header is next */
	size_t count; /* of records begun */
};

/* Past the header, if one is next. SNIFF_YES: @at is a byte of content. SNIFF_NO: not a handshake. */
enum sniff_result tls_records_seek(struct tls_records *records);
/* The next @bytes of content, to @to unless it is NULL. SNIFF_MORE: as many as there are. */
enum sniff_result tls_records_take(struct tls_records *records, size_t bytes, uint8_t *to);
