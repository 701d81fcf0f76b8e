/* ssh - the identification string of a client, RFC 4253 4.2. */
#include <string.h>
#include "proto/sniff.h"

#define LINE_MAX_BYTES 255

static size_t version_len(const uint8_t *data, size_t len, const char *version)
{
	size_t size = strlen(version);

	return memcmp(data, version, len < size ? len : size) != 0 ? 0 : size;
}

enum sniff_result ssh_sniff(const uint8_t *data, size_t len, struct sniff *ret)
{
	size_t start, end;

	if (!len)
		return SNIFF_MORE;
	start = version_len(data, len, "SSH-2.0-");
	if (!start)
		start = version_len(data, len, "SSH-1.99-");
	if (!start)
		return SNIFF_NO;
	for (end = start; end < len && end < LINE_MAX_BYTES; end++) {
		if (data[end] == ' ' || data[end] == '\r' || data[end] == '\n') {
			*ret = (struct sniff){ .protocol = PROTOCOL_SSH };
			len = end - start;
			memcpy(ret->client, data + start,
			       len < sizeof(ret->client) ? len : sizeof(ret->client) - 1);
			return SNIFF_YES;
		}
		if (data[end] < ' ' || data[end] > '~')
			return SNIFF_NO;
	}
	return end == LINE_MAX_BYTES ? SNIFF_NO : SNIFF_MORE;
}
