/* domain - names as the network writes them. Underscores and hyphens at the ends of labels are against
 * RFC 1123 and in use; a last label of digits alone is what tells an IP address from a name.
 */
#include "proto/sniff.h"
#include <string.h>

#define LABEL_MAX 63

/* 0: not a character of a name. */
static char lower(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ? (char)c
											: 0;
}

bool sniff_domain(const uint8_t *name, size_t len, char *ret_domain)
{
	char domain[SNIFF_DOMAIN_MAX];
	bool digits = true; /* alone, in this label */
	size_t label = 0;   /* bytes of it so far */

	if (len && name[len - 1] == '.')
		len--;
	if (!len || len >= sizeof(domain))
		return false;
	for (size_t i = 0; i < len; i++) {
		domain[i] = (char)name[i];
		if (name[i] == '.' && label) {
			label = 0;
			digits = true;
			continue;
		}
		domain[i] = lower(name[i]);
		if (!domain[i] || ++label > LABEL_MAX)
			return false;
		if (domain[i] < '0' || domain[i] > '9')
			digits = false;
	}
	if (!label || digits)
		return false;
	memcpy(ret_domain, domain, len);
	ret_domain[len] = '\0';
	return true;
}
