/* A hello lies inside the data, and its name where it says. */
#include <stdint.h>
#include "proto/tls_hello.h"
#include "stable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_hello hello;
	struct sniff sniff;
	enum sniff_result result = sniff_stable(tls_hello_sniff, data, size, size / 16 + 1, &sniff);

	if (tls_hello_parse(data, size, &hello) != result)
		abort();
	if (result != SNIFF_YES)
		return 0;
	if (hello.bytes > size || !hello.records || strcmp(hello.domain, sniff.domain) != 0)
		abort();
	if (!hello.sni_offset != !hello.sni_len || hello.sni_offset + hello.sni_len > hello.bytes)
		abort();
	if (hello.sni_len < strlen(hello.domain))
		abort();
	return 0;
}
