/* rdp - an X.224 connection request (ITU-T X.224 13.3) in a TPKT (RFC 1006), as [MS-RDPBCGR] 2.2.1.1 has
 * it. Other protocols begin alike and put X.224 parameters where RDP has a cookie or its negotiation.
 */
#include <string.h>
#include "proto/cursor.h"
#include "proto/sniff.h"

#define TPKT_BYTES          4
#define HEAD_BYTES          11 /* TPKT, length, code, two references, class */
#define CODE_REQUEST        0xe0
#define NEGOTIATION_REQUEST 1
#define NEGOTIATION_BYTES   8

/* Of the head, as far as it has come. */
static bool may_be_head(const uint8_t *data, size_t len)
{
	static const uint8_t want[HEAD_BYTES] = { [0] = 3, [5] = CODE_REQUEST };
	static const uint8_t mask[HEAD_BYTES] = { 0xff, 0xff, 0xff, 0, 0,   0xff,
						  0xff, 0xff, 0,    0, 0xf0 };

	for (size_t i = 0; i < len && i < HEAD_BYTES; i++)
		if ((data[i] & mask[i]) != want[i])
			return false;
	if (len > 3 && data[3] < HEAD_BYTES)
		return false;
	return len <= TPKT_BYTES || data[4] == data[3] - TPKT_BYTES - 1;
}

enum sniff_result rdp_sniff(const uint8_t *data, size_t len, struct sniff *ret)
{
	struct cursor c;

	if (!may_be_head(data, len))
		return SNIFF_NO;
	if (len < HEAD_BYTES || len < data[3])
		return SNIFF_MORE;
	c = cursor_of(data + HEAD_BYTES, data[3] - HEAD_BYTES);
	if (cursor_left(&c) && *c.at != NEGOTIATION_REQUEST) { /* a routing token or a cookie */
		const uint8_t *end = memmem(c.at, cursor_left(&c), "\r\n", 2);

		if (!end)
			return SNIFF_NO;
		c.at = end + 2;
	}
	if (cursor_left(&c)) {
		uint32_t type = cursor_get(&c, 1), size;

		(void)cursor_take(&c, 1); /* flags */
		size = cursor_get(&c, 2); /* little endian */
		if (type != NEGOTIATION_REQUEST || size != NEGOTIATION_BYTES << 8)
			return SNIFF_NO;
		(void)cursor_take(&c, NEGOTIATION_BYTES - 4);
	}
	if (c.bad)
		return SNIFF_NO;
	*ret = (struct sniff){ .protocol = PROTOCOL_RDP };
	return SNIFF_YES;
}
