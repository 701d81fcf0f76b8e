/* soa - reads a DNS message (RFC 1035 4.1) only as far as needed, and never a byte past its end. */
#include "dns/soa.h"
#include <errno.h>
#include <stdbool.h>

#define TYPE_SOA 6
#define CLASS_IN 1
#define TTL_MAX  INT32_MAX /* a TTL with the top bit set is 0 (RFC 2181 8) */

/* @bad sticks: what is read after it is 0. */
struct reader {
	const uint8_t *at, *end;
	bool bad;
};

static void skip(struct reader *r, size_t bytes)
{
	if ((size_t)(r->end - r->at) < bytes) {
		r->bad = true;
		r->at = r->end;
		return;
	}
	r->at += bytes;
}

static uint32_t get(struct reader *r, size_t bytes)
{
	const uint8_t *from = r->at;
	uint32_t value = 0;

	skip(r, bytes);
	for (size_t i = 0; i < bytes && !r->bad; i++)
		value = value << 8 | from[i];
	return value;
}

/* Where a compressed name leads to does not matter: a pointer (two top bits set) just ends it. */
static void skip_name(struct reader *r)
{
	while (!r->bad) {
		uint32_t length = get(r, 1);

		if (length >= 0xc0) {
			skip(r, 1);
			return;
		}
		if (!length)
			return;
		if (length > 63)
			r->bad = true;
		else
			skip(r, length);
	}
}

struct record {
	uint32_t type, class, ttl_s;
	struct reader data;
};

static struct record next_record(struct reader *r)
{
	struct record record = { 0 };
	uint32_t length;

	skip_name(r);
	record.type = get(r, 2);
	record.class = get(r, 2);
	record.ttl_s = get(r, 4);
	length = get(r, 2);
	record.data.at = r->at;
	skip(r, length);
	record.data.end = r->at;
	return record;
}

static int soa_ttl(struct record *record, uint32_t *ret_ttl_s)
{
	uint32_t ttl_s = record->ttl_s > TTL_MAX ? 0 : record->ttl_s, minimum;

	skip_name(&record->data); /* MNAME */
	skip_name(&record->data); /* RNAME */
	skip(&record->data, 16);  /* SERIAL, REFRESH, RETRY, EXPIRE */
	minimum = get(&record->data, 4);
	if (record->data.bad)
		return -EBADMSG;
	*ret_ttl_s = minimum < ttl_s ? minimum : ttl_s;
	return 0;
}

int dns_soa_ttl(const uint8_t *message, size_t size, uint32_t *ret_ttl_s)
{
	struct reader r = { .at = message, .end = message + size };
	uint32_t questions, answers, authorities;

	skip(&r, 4); /* id and flags */
	questions = get(&r, 2);
	answers = get(&r, 2);
	authorities = get(&r, 2);
	skip(&r, 2); /* count of additional records */
	for (uint32_t i = 0; i < questions && !r.bad; i++) {
		skip_name(&r);
		skip(&r, 4);
	}
	for (uint32_t i = 0; i < answers && !r.bad; i++)
		(void)next_record(&r);
	for (uint32_t i = 0; i < authorities && !r.bad; i++) {
		struct record record = next_record(&r);

		if (!r.bad && record.type == TYPE_SOA && record.class == CLASS_IN)
			return soa_ttl(&record, ret_ttl_s);
	}
	return r.bad ? -EBADMSG : -ENOENT;
}
