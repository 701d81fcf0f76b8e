/* bittorrent - the handshake between peers (BEP 3) starts with its name. */
#include <string.h>
#include "proto/sniff.h"

enum sniff_result bittorrent_sniff(const uint8_t *data, size_t len, struct sniff *ret)
{
	static const char name[] = "\x13"
				   "BitTorrent protocol";
	size_t size = sizeof(name) - 1;

	if (len && memcmp(data, name, len < size ? len : size) != 0)
		return SNIFF_NO;
	if (len < size)
		return SNIFF_MORE;
	*ret = (struct sniff){ .protocol = PROTOCOL_BITTORRENT };
	return SNIFF_YES;
}
