/* Any bytes: a question is read and written as the same one, its answer is cut, aged and fitted and stays an
 * answer. The first byte is the length of the question. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "dns/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t asked = size ? data[0] : 0, left, kept;
	uint8_t written[DNS_QUERY_MAX], *answer;
	struct dns_query query, again;
	struct addr addrs[4];
	uint32_t ttl_s = 0;

	if (size < 1 + asked || size - 1 - asked > DNS_MESSAGE_MAX ||
	    dns_query_read(data + 1, asked, &query) < 0)
		return 0;
	if (!query.rcode && (dns_query_read(written, dns_query_write(&query, 7, written), &again) ||
			     again.rcode || again.id != 7 || strcmp(again.name, query.name) != 0))
		abort();
	left = size - 1 - asked;
	answer = malloc(left + 11); /* room for the OPT record */
	if (!answer || dns_query_refuse(&query, query.rcode, written) > sizeof(written))
		abort();
	memcpy(answer, data + 1 + asked, left);
	if (!query.rcode && !dns_answer_check(&query, answer, left, &kept)) {
		ttl_s = dns_answer_ttl(&query, answer, kept);
		dns_answer_age(answer, kept, INT32_MAX);
		if (ttl_s > 86400 || dns_answer_ttl(&query, answer, kept) ||
		    dns_answer_addrs(answer, kept, addrs, 4, &ttl_s) > 4 ||
		    dns_answer_check(&query, answer, dns_answer_fit(&query, answer, kept), &left) ||
		    left != kept)
			abort();
	}
	free(answer);
	return 0;
}
