#include "config/form.h"
#include <ctype.h>
#include <limits.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/un.h>
#include "net/addr.h"

#define TAG_BYTES_MAX   64U
#define LABEL_BYTES_MAX 63U  /* RFC 1035 2.3.4 */
#define NAME_BYTES_MAX  253U /* without the last dot: 255 with the bytes of length */

const char *form_tag(const char *text)
{
	size_t len = strlen(text);

	if (!len || len > TAG_BYTES_MAX)
		return "a tag has 1 to 64 bytes";
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			return "a tag is without control characters";
	return NULL;
}

const char *form_interface(const char *text)
{
	size_t len = strlen(text);

	if (!len || len >= IFNAMSIZ)
		return "the name of an interface has 1 to 15 bytes";
	for (; *text; text++) /* dev_valid_name() in net/core/dev.c */
		if (*text == '/' || *text == ':' || isspace((unsigned char)*text))
			return "the name of an interface is without '/', ':' and spaces";
	return NULL;
}

const char *form_socket(const char *text)
{
	if (*text != '/')
		return "must be an absolute path";
	if (strlen(text) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return "the path of a socket has at most 107 bytes";
	return NULL;
}

const char *form_netns(const char *text)
{
	size_t len = strlen(text);

	if (*text == '/')
		return len < PATH_MAX ? NULL : "a path has at most 4095 bytes";
	if (!len || len > NAME_MAX || strchr(text, '/') || !strcmp(text, ".") ||
	    !strcmp(text, ".."))
		return "must be the name of a network namespace or an absolute path";
	return NULL;
}

static bool is_all_digits(const char *text, size_t len)
{
	return strspn(text, "0123456789") >= len;
}

const char *form_host(const char *text)
{
	size_t len = strlen(text), label;
	bool number = false; /* the last label is one: an address with a mistake */
	struct addr addr;

	if (!addr_parse(text, 0, &addr))
		return NULL;
	if (len && text[len - 1] == '.')
		len--;
	if (!len || strchr(text, ':'))
		return "is neither an IP address nor a domain name";
	if (len > NAME_BYTES_MAX)
		return "a domain name has at most 253 bytes";
	for (const char *end = text + len; text <= end; text += label + 1) {
		label = strcspn(text, ".");
		if (!label || label > LABEL_BYTES_MAX)
			return "the parts of a domain name have 1 to 63 bytes";
		for (size_t i = 0; i < label; i++)
			if (!isascii(text[i]) ||
			    !(isalnum((unsigned char)text[i]) || strchr("-_", text[i])))
				return "a domain name has letters, digits, '-', '_' and '.' only";
		number = is_all_digits(text, label);
	}
	return number ? "is neither an IP address nor a domain name" : NULL;
}
