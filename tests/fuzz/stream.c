/* All parsers of streams, together and each alone: what one finds, all of them find. */
#include <stdint.h>
#include "stable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum sniff_result sniff_any(const uint8_t *data, size_t len, struct sniff *ret)
{
	return sniff_stream(data, len, 0, ret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sniff all, one;
	enum sniff_result together = sniff_stable(sniff_any, data, size, size / 16 + 1, &all);
	bool yes = false, more = false;

	for (unsigned i = 1; i < PROTOCOL_COUNT; i++) {
		enum sniff_result alone = sniff_stream(data, size, 1u << i, &one);

		yes |= alone == SNIFF_YES;
		more |= alone == SNIFF_MORE;
		if (alone == SNIFF_YES && one.protocol != i)
			abort();
		if (alone == SNIFF_YES && together == SNIFF_YES && all.protocol == i &&
		    !sniff_equal(&one, &all))
			abort();
	}
	if (together != (yes ? SNIFF_YES : more ? SNIFF_MORE : SNIFF_NO))
		abort();
	return 0;
}
