/* A head gives one answer, however it comes; a name is a name. */
#include <stdint.h>
#include "stable.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sniff sniff;
	char domain[SNIFF_DOMAIN_MAX];

	if (sniff_stable(http_head_sniff, data, size, size / 16 + 1, &sniff) != SNIFF_YES)
		return 0;
	if (sniff.protocol != PROTOCOL_HTTP || sniff.client[0])
		abort();
	if (sniff.domain[0] &&
	    (!sniff_domain((const uint8_t *)sniff.domain, strlen(sniff.domain), domain) ||
	     strcmp(domain, sniff.domain) != 0))
		abort();
	return 0;
}
