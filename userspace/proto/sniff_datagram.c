/* sniff_datagram - all that is known of datagrams, in order. QUIC alone may want a second one. */
#include <stdlib.h>
#include "base/names.h"
#include "proto/quic.h"
#include "proto/sniff.h"

struct sniff_datagrams {
	struct quic quic;
};

static enum sniff_result sniff_quic(struct sniff_datagrams **state, const uint8_t *data, size_t len,
				    struct sniff *ret)
{
	struct sniff_datagrams first;
	enum sniff_result result;

	if (*state)
		return quic_datagram(&(*state)->quic, data, len, ret);
	quic_init(&first.quic);
	result = quic_datagram(&first.quic, data, len, ret);
	if (result != SNIFF_MORE)
		return result;
	*state = malloc(sizeof(**state));
	if (!*state)
		return SNIFF_NO;
	**state = first;
	return SNIFF_MORE;
}

enum sniff_result sniff_datagram(struct sniff_datagrams **state, const uint8_t *data, size_t len,
				 uint32_t protocols, struct sniff *ret)
{
	static const struct {
		enum protocol protocol;
		sniff_fn *sniff; /* NULL: QUIC */
	} sniffers[] = {
		{ PROTOCOL_DNS, dns_sniff },        { PROTOCOL_QUIC, NULL },
		{ PROTOCOL_STUN, stun_sniff },      { PROTOCOL_DTLS, dtls_sniff },
		{ PROTOCOL_BITTORRENT, utp_sniff }, { PROTOCOL_NTP, ntp_sniff },
	};

	if (*state)
		return sniff_quic(state, data, len, ret);
	for (size_t i = 0; i < ARRAY_SIZE(sniffers); i++) {
		enum sniff_result result;

		if (protocols && !(protocols & 1U << sniffers[i].protocol))
			continue;
		result = sniffers[i].sniff ? sniffers[i].sniff(data, len, ret)
					   : sniff_quic(state, data, len, ret);
		if (result != SNIFF_NO)
			return result;
	}
	return SNIFF_NO;
}

void sniff_datagrams_free(struct sniff_datagrams *state)
{
	free(state);
}
