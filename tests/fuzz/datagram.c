/* Any datagram is one protocol or none, with a name that ends; the answer is the same twice. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "proto/sniff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum sniff_result look(const uint8_t *data, size_t size, uint32_t protocols,
			      struct sniff *ret)
{
	struct sniff_datagrams *state = NULL;
	enum sniff_result result = sniff_datagram(&state, data, size, protocols, ret);

	if ((result == SNIFF_MORE) != (state != NULL))
		abort();
	sniff_datagrams_free(state);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sniff all = { 0 }, one = { 0 };
	enum sniff_result result = look(data, size, 0, &all);

	if (result == SNIFF_NO && all.protocol)
		abort();
	if (result != SNIFF_YES)
		return 0;
	if (!all.protocol || all.protocol >= PROTOCOL_COUNT ||
	    !memchr(all.domain, 0, sizeof(all.domain)) || all.client[0])
		abort();
	if (look(data, size, 1U << all.protocol, &one) != SNIFF_YES ||
	    memcmp(&all, &one, sizeof(all)) != 0)
		abort();
	return 0;
}
