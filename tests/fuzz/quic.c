/* The datagrams of a session: each a length of two bytes and that many. With the top bit of the
 * length they are frames, to be sealed here: no fuzzer finds the tag. */
#include <stdint.h>
#include <stdlib.h>
#include "../unit/proto/quic_seal.h"
#include "proto/sniff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct quic_seal seal = { QUIC_V1, "\x83\x94\xc8\xf0\x3e\x51\x57\x08", NULL, 0, 1 };
	enum sniff_result result = SNIFF_MORE;
	struct sniff_datagrams *state = NULL;
	struct sniff sniff = { 0 };
	int count = 0;

	while (size >= 2 && result == SNIFF_MORE) {
		size_t len = (size_t)data[0] << 8 | data[1], sealed = len & 0x8000;

		data += 2;
		size -= 2;
		len &= 0x7fff;
		len = len < size ? len : size;
		sealed = len >= 4 && len <= QUIC_SEAL_MAX - 100 ? sealed : 0;
		uint8_t *datagram = malloc(len + (sealed ? 19 + QUIC_TAG_SIZE : 0)); /* exactly */
		result = sniff_datagram(&state, sealed ? datagram : memcpy(datagram, data, len),
					sealed ? quic_seal(&seal, data, len, datagram) : len,
					1U << PROTOCOL_QUIC, &sniff);
		free(datagram);
		data += len;
		size -= len;
		seal.number++;
		if (++count > 8 || (result == SNIFF_YES) != (sniff.protocol == PROTOCOL_QUIC))
			abort();
	}
	sniff_datagrams_free(state);
	return 0;
}
