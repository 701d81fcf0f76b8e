/* query - reads a question, and writes it again as ours or with a refusal. */
#include <errno.h>
#include <string.h>
#include "dns/message.h"
#include "dns/wire.h"

#define UDP_SIZE_DEFAULT 512
#define UDP_SIZE_OURS    1232 /* crosses any path unfragmented (DNS flag day 2020) */
#define DNSSEC_OK        0x8000U
#define OPT_SIZE         11
#define NAME_POINTER     0xc000U /* to an offset (RFC 1035 4.1.4) */
#define RECORD_HEAD      12      /* with a pointer for the name */

enum { TYPE_TKEY = 249, TYPE_TSIG, TYPE_IXFR, TYPE_AXFR }; /* consecutive */

/* As dns_key_init() takes it: printable ASCII, and no dot or backslash in a label. */
static bool is_plain(uint8_t c)
{
	return c > ' ' && c < 0x7f && c != '\\' && c != '.';
}

static void name_to_text(struct dns_query *query)
{
	size_t used = 0;

	for (size_t at = 0; query->wire[at]; at += query->wire[at] + 1U) {
		if (used)
			query->name[used++] = '.';
		for (size_t i = 1; i <= query->wire[at]; i++) {
			uint8_t c = query->wire[at + i];

			if (!is_plain(c)) {
				query->name[0] = '\0';
				return;
			}
			query->name[used++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
		}
	}
	query->name[used] = '\0';
}

static int read_question(struct dns_query *query, const uint8_t *message, size_t size, size_t *at)
{
	size_t end = *at;

	for (; end < size && message[end]; end += message[end] + 1U)
		if (message[end] > 63) /* a pointer as well: there is no name before this one */
			return -EBADMSG;
	if (end >= size || size - end < 5 || end + 1 - *at > DNS_WIRE_NAME_MAX)
		return -EBADMSG;
	end++;
	query->wire_length = (uint8_t)(end - *at);
	memcpy(query->wire, message + *at, query->wire_length);
	query->type = wire_get16(message + end);
	query->class = wire_get16(message + end + 2);
	query->has_question = true;
	name_to_text(query);
	*at = end + 4;
	return 0;
}

/* What is in the other sections is of no interest, but must be records, and one OPT at most. */
static enum dns_rcode read_records(struct dns_query *query, const uint8_t *message, size_t size)
{
	struct dns_walk walk;
	struct dns_record record;
	unsigned version = 0;
	int r = dns_walk_begin(&walk, message, size);

	while (!r && (r = dns_walk_next(&walk, &record)) > 0) {
		r = 0;
		if (record.type != DNS_RECORD_OPT)
			continue;
		if (query->edns || record.section != DNS_ADDITIONAL || message[record.start])
			return DNS_RCODE_FORMERR;
		query->edns = true;
		query->dnssec_ok = record.ttl_s & DNSSEC_OK;
		if (record.class > UDP_SIZE_DEFAULT)
			query->udp_size = record.class;
		version = record.ttl_s >> 16 & 0xff;
	}
	if (r < 0)
		return DNS_RCODE_FORMERR;
	return version ? DNS_RCODE_BADVERS : DNS_RCODE_OK;
}

static enum dns_rcode read_body(struct dns_query *query, const uint8_t *message, size_t size)
{
	size_t at = DNS_HEADER_SIZE;
	enum dns_rcode rcode;

	if (query->flags & WIRE_OPCODE)
		return DNS_RCODE_NOTIMP;
	if (wire_get16(message + 4) != 1 || read_question(query, message, size, &at) < 0)
		return DNS_RCODE_FORMERR;
	rcode = read_records(query, message, size);
	if (!rcode && (query->type == DNS_RECORD_OPT ||
		       (query->type >= TYPE_TKEY && query->type <= TYPE_AXFR)))
		rcode = DNS_RCODE_REFUSED;
	return rcode;
}

int dns_query_read(const uint8_t *message, size_t size, struct dns_query *ret)
{
	if (size < DNS_HEADER_SIZE || wire_get16(message + 2) & WIRE_QR)
		return -EBADMSG;
	*ret = (struct dns_query){ .id = wire_get16(message),
				   .flags = wire_get16(message + 2) &
					    (WIRE_OPCODE | WIRE_RD | WIRE_AD | WIRE_CD),
				   .udp_size = UDP_SIZE_DEFAULT };
	ret->rcode = read_body(ret, message, size);
	return 0;
}

/* @extended: the upper bits of the rcode. */
static size_t put_opt(uint8_t *at, const struct dns_query *query, unsigned extended)
{
	memset(at, 0, OPT_SIZE); /* the root, no options */
	wire_put16(at + 1, DNS_RECORD_OPT);
	wire_put16(at + 3, UDP_SIZE_OURS);
	at[5] = (uint8_t)extended;
	wire_put16(at + 7, query->dnssec_ok ? DNSSEC_OK : 0);
	return OPT_SIZE;
}

static size_t put_head(uint8_t *ret, const struct dns_query *query, uint16_t id, unsigned flags)
{
	size_t size = DNS_HEADER_SIZE;

	memset(ret, 0, DNS_HEADER_SIZE);
	wire_put16(ret, id);
	wire_put16(ret + 2, flags);
	if (!query->has_question)
		return size;
	ret[5] = 1;
	memcpy(ret + size, query->wire, query->wire_length);
	size += query->wire_length;
	wire_put16(ret + size, query->type);
	wire_put16(ret + size + 2, query->class);
	return size + 4;
}

size_t dns_query_write(const struct dns_query *query, uint16_t id, uint8_t *ret)
{
	size_t size = put_head(ret, query, id, query->flags);

	ret[11] = 1;
	return size + put_opt(ret + size, query, 0);
}

size_t dns_query_refuse(const struct dns_query *query, enum dns_rcode rcode, uint8_t *ret)
{
	unsigned flags = query->flags & (WIRE_OPCODE | WIRE_RD | WIRE_CD);
	size_t size = put_head(ret, query, query->id,
			       WIRE_QR | WIRE_RA | flags | (rcode & WIRE_RCODE));

	if (!query->edns)
		return size;
	ret[11] = 1;
	return size + put_opt(ret + size, query, rcode >> 4);
}

size_t dns_query_truncate(const struct dns_query *query, uint8_t *ret)
{
	size_t size = dns_query_refuse(query, DNS_RCODE_OK, ret);

	wire_put16(ret + 2, wire_get16(ret + 2) | WIRE_TC);
	return size;
}

size_t dns_answer_add(uint8_t *message, size_t size, const struct addr *addr, uint32_t ttl_s)
{
	bool is4 = addr->family == AF_INET;
	size_t data_size = is4 ? sizeof(addr->v4) : sizeof(addr->v6);
	uint8_t *at = message + size;

	wire_put16(at, NAME_POINTER | DNS_HEADER_SIZE);
	wire_put16(at + 2, is4 ? DNS_RECORD_A : DNS_RECORD_AAAA);
	wire_put16(at + 4, DNS_CLASS_IN);
	wire_put32(at + 6, ttl_s);
	wire_put16(at + 10, (unsigned)data_size);
	memcpy(at + RECORD_HEAD, is4 ? (const void *)&addr->v4 : &addr->v6, data_size);
	wire_put16(message + 6, wire_get16(message + 6) + 1U);
	return size + RECORD_HEAD + data_size;
}

size_t dns_answer_fit(const struct dns_query *query, uint8_t *message, size_t size)
{
	unsigned ours = WIRE_RD | WIRE_CD, count = wire_get16(message + 10);

	wire_put16(message, query->id);
	wire_put16(message + 2, (wire_get16(message + 2) & ~ours) | (query->flags & ours));
	memcpy(message + DNS_HEADER_SIZE, query->wire, query->wire_length);
	if (!query->edns || count == UINT16_MAX || size > DNS_MESSAGE_MAX - OPT_SIZE)
		return size;
	wire_put16(message + 10, count + 1);
	return size + put_opt(message + size, query, 0);
}
