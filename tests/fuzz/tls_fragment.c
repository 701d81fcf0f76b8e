/* Cuts lie inside the name, and what is cut reads the same. The first four bytes are the random number. */
#include <stdint.h>
#include "proto/tls_fragment.h"
#include "proto/tls_hello.h"
#include "stable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t cuts[TLS_FRAGMENT_CUTS_MAX], ends[TLS_FRAGMENT_CUTS_MAX + 1], count, written;
	static uint8_t out[2 * 65536];
	struct tls_hello hello, again;
	uint32_t random;

	if (size < sizeof(random))
		return 0;
	memcpy(&random, data, sizeof(random));
	data += sizeof(random);
	size -= sizeof(random);
	count = tls_fragment_cuts(data, size, random, cuts);
	if (tls_hello_parse(data, size, &hello) != SNIFF_YES)
		return count ? abort(), 0 : 0;
	for (size_t i = 0; i < count; i++)
		if (cuts[i] <= (i ? cuts[i - 1] : hello.sni_offset) ||
		    cuts[i] >= hello.sni_offset + hello.sni_len)
			abort();
	written = tls_fragment_records(data, size, cuts, count, out, sizeof(out), ends);
	if (!written || ends[count] != written)
		abort();
	if (tls_hello_parse(out, written, &again) != SNIFF_YES || again.bytes != written ||
	    strcmp(again.domain, hello.domain) != 0 || again.records < count + 1)
		abort();
	return 0;
}
