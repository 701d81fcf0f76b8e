/* sniff_stream - every parser over the same bytes. Where two could say yes, the one that needs fewer of
 * them comes first, so that more bytes do not change the answer.
 */
#include "base/names.h"
#include "proto/sniff.h"

static const struct {
	enum protocol protocol;
	sniff_fn *sniff;
} parsers[] = {
	{ PROTOCOL_TLS, tls_hello_sniff },  { PROTOCOL_SSH, ssh_sniff },
	{ PROTOCOL_HTTP, http_head_sniff }, { PROTOCOL_BITTORRENT, bittorrent_sniff },
	{ PROTOCOL_RDP, rdp_sniff },        { PROTOCOL_DNS, dns_sniff_stream },
};

enum sniff_result sniff_stream(const uint8_t *data, size_t len, uint32_t protocols,
			       struct sniff *ret)
{
	size_t seen = len < SNIFF_STREAM_MAX ? len : SNIFF_STREAM_MAX;
	bool more = false;

	for (size_t i = 0; i < ARRAY_SIZE(parsers); i++) {
		enum sniff_result result = SNIFF_NO;

		if (!protocols || protocols & 1u << parsers[i].protocol)
			result = parsers[i].sniff(data, seen, ret);
		if (result == SNIFF_YES)
			return SNIFF_YES;
		more |= result == SNIFF_MORE;
	}
	return more && len < SNIFF_STREAM_MAX ? SNIFF_MORE : SNIFF_NO;
}
