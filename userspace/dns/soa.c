#include "dns/soa.h"
#include <errno.h>
#include "dns/message.h"
#include "dns/wire.h"

#define NUMBERS 16 /* SERIAL, REFRESH, RETRY, EXPIRE */

static int soa_ttl(const uint8_t *message, const struct dns_record *record, uint32_t *ret_ttl_s)
{
	size_t at = record->data, end = record->data + record->data_size;
	uint32_t minimum;

	for (int i = 0; i < 2; i++) /* MNAME and RNAME */
		if (dns_name_skip(message, end, &at) < 0)
			return -EBADMSG;
	if (end - at < NUMBERS + 4)
		return -EBADMSG;
	minimum = wire_get32(message + at + NUMBERS);
	*ret_ttl_s = minimum < record->ttl_s ? minimum : record->ttl_s;
	return 0;
}

int dns_soa_ttl(const uint8_t *message, size_t size, uint32_t *ret_ttl_s)
{
	struct dns_walk walk;
	struct dns_record record;
	int r = dns_walk_begin(&walk, message, size);

	while (!r && (r = dns_walk_next(&walk, &record)) > 0) {
		if (record.section == DNS_ADDITIONAL)
			break;
		if (record.section == DNS_AUTHORITY && record.type == DNS_RECORD_SOA &&
		    record.class == DNS_CLASS_IN)
			return soa_ttl(message, &record, ret_ttl_s);
		r = 0;
	}
	return r < 0 ? r : -ENOENT;
}
