/* utp - BitTorrent over UDP: a packet of uTP (BEP 29), or the connect of a tracker (BEP 15).
 *
 * The header of uTP has little that is fixed. So what the kinds of packets are is looked at, too:
 * without that the first packet of WireGuard (01 00 00 00) was one.
 */
#include <endian.h>
#include <string.h>
#include "proto/sniff.h"

#define VERSION         1
#define EXTENSION_MAX   3 /* selective ack, extension bits, close reason */
#define TRACKER_CONNECT 16
#define TRACKER_MAGIC   0x41727101980ULL

enum type { ST_DATA, ST_FIN, ST_STATE, ST_RESET, ST_SYN };

struct head {
	uint8_t type_version, extension;
	uint16_t connection;
	uint32_t time, time_difference, window;
	uint16_t seq, ack;
};

/* The length of header and extensions, 0: they do not fit. */
static size_t skip_extensions(const uint8_t *data, size_t len, uint8_t extension)
{
	size_t at = sizeof(struct head);

	while (extension) {
		if (extension > EXTENSION_MAX || len - at < 2 || data[at + 1] > len - at - 2)
			return 0;
		extension = data[at];
		at += 2U + data[at + 1];
	}
	return at;
}

static bool is_utp(const uint8_t *data, size_t len)
{
	struct head head;
	size_t head_len;

	if (len < sizeof(head))
		return false;
	memcpy(&head, data, sizeof(head));
	if ((head.type_version & 0x0f) != VERSION || !head.connection)
		return false;
	head_len = skip_extensions(data, len, head.extension);
	if (!head_len)
		return false;
	switch (head.type_version >> 4) {
	case ST_DATA:
		return len > head_len;
	case ST_FIN:
		return true;
	case ST_STATE:
	case ST_RESET:
	case ST_SYN:
		return len == head_len;
	default:
		return false;
	}
}

static bool is_tracker_connect(const uint8_t *data, size_t len)
{
	static const uint8_t action_connect[4];
	uint64_t magic;

	if (len < TRACKER_CONNECT)
		return false;
	memcpy(&magic, data, sizeof(magic));
	return be64toh(magic) == TRACKER_MAGIC &&
	       memcmp(data + sizeof(magic), action_connect, sizeof(action_connect)) == 0;
}

enum sniff_result utp_sniff(const uint8_t *data, size_t len, struct sniff *ret)
{
	if (!is_utp(data, len) && !is_tracker_connect(data, len))
		return SNIFF_NO;
	*ret = (struct sniff){ .protocol = PROTOCOL_BITTORRENT };
	return SNIFF_YES;
}
