/* ntp - a client's request (RFC 5905 7.3, RFC 1305). Clients fill in little of it; what they do
 * must be what a clock could say. */
#include <endian.h>
#include <string.h>
#include "proto/sniff.h"

#define MODE_CLIENT 3
#define STRATUM_MAX 16
#define SECONDS_MAX 16U /* of delay and dispersion */

struct message {
	uint8_t flags, stratum, poll, precision;
	uint32_t delay, dispersion; /* in 1/65536 s */
	uint8_t reference[4], times[4][8];
};

enum sniff_result ntp_sniff(const uint8_t *data, size_t len, struct sniff *ret)
{
	struct message message;
	unsigned version;

	/* Extension fields and the MAC are whole words. */
	if (len < sizeof(message) || len % 4)
		return SNIFF_NO;
	memcpy(&message, data, sizeof(message));
	version = message.flags >> 3 & 7;
	if ((message.flags & 7) != MODE_CLIENT || (version != 3 && version != 4))
		return SNIFF_NO;
	if (message.stratum > STRATUM_MAX || be32toh(message.delay) > SECONDS_MAX << 16 ||
	    be32toh(message.dispersion) > SECONDS_MAX << 16)
		return SNIFF_NO;
	*ret = (struct sniff){ .protocol = PROTOCOL_NTP };
	return SNIFF_YES;
}
