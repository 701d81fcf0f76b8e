/* dns - a query in one datagram. */
#include "proto/dns_message.h"
#include "proto/sniff.h"

enum sniff_result dns_sniff(const uint8_t *data, size_t len, struct sniff *ret)
{
	struct sniff sniff = { .protocol = PROTOCOL_DNS };

	if (!dns_message_is_query(data, len, sniff.domain))
		return SNIFF_NO;
	*ret = sniff;
	return SNIFF_YES;
}
