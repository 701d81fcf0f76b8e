/* stun - a message with the magic cookie (RFC 8489 5). The older kind without one (RFC 3489) looks
 * like anything and is not looked for. */
#include <endian.h>
#include <string.h>
#include "proto/sniff.h"

#define MAGIC_COOKIE 0x2112a442U

struct head {
	uint16_t type, length;
	uint32_t cookie;
	uint8_t transaction[12];
};

enum sniff_result stun_sniff(const uint8_t *data, size_t len, struct sniff *ret)
{
	struct head head;

	if (len < sizeof(head))
		return SNIFF_NO;
	memcpy(&head, data, sizeof(head));
	if (be16toh(head.type) >> 14 || be32toh(head.cookie) != MAGIC_COOKIE)
		return SNIFF_NO;
	if (be16toh(head.length) % 4 || be16toh(head.length) > len - sizeof(head))
		return SNIFF_NO;
	*ret = (struct sniff){ .protocol = PROTOCOL_STUN };
	return SNIFF_YES;
}
