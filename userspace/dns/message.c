#include "dns/message.h"
#include <errno.h>
#include <string.h>
#include "dns/soa.h"
#include "dns/wire.h"

#define TTL_MAX_S          86400
#define NEGATIVE_TTL_MAX_S 300

static bool same_name(const uint8_t *a, const uint8_t *b, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (wire_lower(a[i]) != wire_lower(b[i]))
			return false;
	return true;
}

static bool has_the_question(const struct dns_query *query, const uint8_t *message, size_t size)
{
	size_t end = DNS_HEADER_SIZE + query->wire_length;

	return size >= end + 4 && wire_get16(message + 2) & WIRE_QR &&
	       wire_get16(message + 4) == 1 &&
	       same_name(query->wire, message + DNS_HEADER_SIZE, query->wire_length) &&
	       wire_get16(message + end) == query->type &&
	       wire_get16(message + end + 2) == query->class;
}

int dns_answer_check(const struct dns_query *query, uint8_t *message, size_t size, size_t *ret_size)
{
	struct dns_walk walk;
	struct dns_record record, opt = { 0 };
	int r;

	if (!has_the_question(query, message, size))
		return -EBADMSG;
	r = dns_walk_begin(&walk, message, size);
	while (!r && (r = dns_walk_next(&walk, &record)) > 0) {
		r = 0;
		if (record.type == DNS_RECORD_OPT && record.section != DNS_ADDITIONAL)
			return -EBADMSG;
		if (record.type == DNS_RECORD_OPT && !opt.start)
			opt = record;
	}
	if (r < 0 || opt.ttl_s >> 24) /* an rcode that a header has no room for */
		return -EBADMSG;
	if (opt.start)
		wire_put16(message + 10, opt.index);
	*ret_size = opt.start ? opt.start : walk.at;
	return 0;
}

unsigned dns_answer_rcode(const uint8_t *message)
{
	return wire_get16(message + 2) & WIRE_RCODE;
}

bool dns_answer_truncated(const uint8_t *message)
{
	return wire_get16(message + 2) & WIRE_TC;
}

uint32_t dns_answer_ttl(const struct dns_query *query, const uint8_t *message, size_t size)
{
	uint32_t ttl_s = TTL_MAX_S, negative_s;
	bool found = false;
	struct dns_walk walk;
	struct dns_record record;
	int r = dns_walk_begin(&walk, message, size);

	while (!r && (r = dns_walk_next(&walk, &record)) > 0) {
		r = 0;
		if (record.ttl_s < ttl_s)
			ttl_s = record.ttl_s;
		found |= record.section == DNS_ANSWER &&
			 (record.type == query->type || query->type == DNS_RECORD_ANY);
	}
	if (r < 0)
		return 0;
	if (found && dns_answer_rcode(message) == DNS_RCODE_OK)
		return ttl_s;
	if (dns_soa_ttl(message, size, &negative_s) < 0)
		return 0;
	if (negative_s > NEGATIVE_TTL_MAX_S)
		negative_s = NEGATIVE_TTL_MAX_S;
	return negative_s < ttl_s ? negative_s : ttl_s;
}

void dns_answer_age(uint8_t *message, size_t size, uint32_t age_s)
{
	struct dns_walk walk;
	struct dns_record record;

	if (dns_walk_begin(&walk, message, size) < 0)
		return;
	while (dns_walk_next(&walk, &record) > 0)
		wire_put32(message + record.ttl_at,
			   record.ttl_s > age_s ? record.ttl_s - age_s : 0);
}

/* Of a host on the network: an IPv4-mapped address is none. */
static bool read_addr(const uint8_t *message, const struct dns_record *record, struct addr *ret)
{
	*ret = (struct addr){ .family = AF_INET };
	if (record->section != DNS_ANSWER || record->class != DNS_CLASS_IN)
		return false;
	if (record->type == DNS_RECORD_A && record->data_size == sizeof(ret->v4)) {
		memcpy(&ret->v4, message + record->data, sizeof(ret->v4));
		return true;
	}
	if (record->type != DNS_RECORD_AAAA || record->data_size != sizeof(ret->v6))
		return false;
	ret->family = AF_INET6;
	memcpy(&ret->v6, message + record->data, sizeof(ret->v6));
	return !IN6_IS_ADDR_V4MAPPED(&ret->v6);
}

size_t dns_answer_addrs(const uint8_t *message, size_t size, struct addr *ret, size_t max,
			uint32_t *ret_ttl_s)
{
	uint32_t ttl_s = TTL_MAX_S;
	size_t count = 0;
	struct dns_walk walk;
	struct dns_record record;
	int r = dns_walk_begin(&walk, message, size);

	while (!r && count < max && dns_walk_next(&walk, &record) > 0) {
		if (!read_addr(message, &record, &ret[count]))
			continue;
		count++;
		if (record.ttl_s < ttl_s)
			ttl_s = record.ttl_s;
	}
	if (count)
		*ret_ttl_s = ttl_s;
	return count;
}
