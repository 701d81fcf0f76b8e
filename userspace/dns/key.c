#include "dns/key.h"
#include <errno.h>
#include <string.h>

/* Printable ASCII. A backslash would begin an escape of c-ares, and could smuggle in a dot. */
static bool is_name_char(char c)
{
	return c > ' ' && c < 0x7f && c != '\\';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int copy_name(struct dns_key *key, const char *name)
{
	size_t length = strnlen(name, DNS_NAME_MAX + 2), label = 0;

	if (length && name[length - 1] == '.')
		length--;
	if (!length || length > DNS_NAME_MAX)
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		bool dot = name[i] == '.';

		if (dot ? !label : !is_name_char(name[i]))
			return -EINVAL;
		label = dot ? 0 : label + 1;
		if (label > DNS_LABEL_MAX)
			return -EINVAL;
		key->name[i] = lower(name[i]);
	}
	if (!label) /* two dots at the end */
		return -EINVAL;
	key->name[length] = '\0';
	key->length = length;
	return 0;
}

int dns_key_init(struct dns_key *key, const struct hash_key *secret, size_t server,
		 const char *name, enum dns_type type)
{
	int r = copy_name(key, name);

	if (r < 0)
		return r;
	key->server = server;
	key->type = type;
	key->hash = (uint32_t)hash_bytes(secret, key->name, key->length) ^ (uint32_t)(server << 1) ^
		    type;
	return 0;
}

bool dns_key_equal(const struct dns_key *a, const struct dns_key *b)
{
	return a->hash == b->hash && a->server == b->server && a->type == b->type &&
	       a->length == b->length && !memcmp(a->name, b->name, a->length);
}

bool dns_key_is_localhost(const struct dns_key *key)
{
	static const char word[] = "localhost";
	const size_t length = sizeof(word) - 1;

	if (key->length < length || strcmp(key->name + key->length - length, word) != 0)
		return false;
	return key->length == length || key->name[key->length - length - 1] == '.';
}
