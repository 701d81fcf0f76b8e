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
#define LOGIN_BYTES_MAX 255U /* RFC 1929 2 */
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

static const char *name_fault(const char *text, size_t len)
{
	bool number = false; /* the last label is one: an address with a mistake */
	size_t label;

	if (!len || memchr(text, ':', len))
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

static size_t name_len(const char *text)
{
	size_t len = strlen(text);

	return len && text[len - 1] == '.' ? len - 1 : len;
}

const char *form_host(const char *text)
{
	struct addr addr;

	return addr_parse(text, 0, &addr) ? name_fault(text, name_len(text)) : NULL;
}

const char *form_domain(const char *text)
{
	struct addr addr;

	if (!addr_parse(text, 0, &addr))
		return "is an IP address, not a domain name";
	return *text ? name_fault(text, name_len(text)) : "must not be empty";
}

const char *form_suffix(const char *text)
{
	return form_domain(*text == '.' ? text + 1 : text);
}

const char *form_keyword(const char *text)
{
	if (!*text)
		return "must not be empty";
	if (strlen(text) > NAME_BYTES_MAX)
		return "a domain name has at most 253 bytes";
	for (; *text; text++)
		if (!isascii(*text) || !(isalnum((unsigned char)*text) || strchr("-_.", *text)))
			return "a domain name has letters, digits, '-', '_' and '.' only";
	return NULL;
}

const char *form_regex(const char *text)
{
	return *text ? NULL : "must not be empty";
}

const char *form_path(const char *text)
{
	if (!*text)
		return "must be the path of a file";
	return strlen(text) < PATH_MAX ? NULL : "a path has at most 4095 bytes";
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			return true;
	return false;
}

const char *form_login(const char *text)
{
	size_t len = strlen(text);

	if (!len || len > LOGIN_BYTES_MAX)
		return "must have 1 to 255 bytes";
	return has_control(text) ? "must be without control characters" : NULL;
}

const char *form_flow(const char *text)
{
	return *text ? "must be empty: flows of VLESS are not supported" : NULL;
}

const char *form_header_name(const char *text)
{
	if (!*text)
		return "a header has a name";
	for (; *text; text++)
		if (!isascii(*text) ||
		    !(isalnum((unsigned char)*text) || strchr("!#$%&'*+-.^_`|~", *text)))
			return "the name of a header is without spaces, ':' and the like";
	return NULL;
}

const char *form_header_value(const char *text)
{
	return has_control(text) ? "must be without control characters" : NULL;
}

static bool is_port(const char *text, size_t len)
{
	unsigned port = 0;

	if (!len || len > 5 || !is_all_digits(text, len))
		return false;
	for (; len; len--, text++)
		port = port * 10 + (unsigned)(*text - '0');
	return port && port <= UINT16_MAX;
}

/* @text of @len bytes: a host, an IPv6 address in brackets, and perhaps a colon with a port. */
static const char *authority_fault(const char *text, size_t len)
{
	bool bracket = *text == '[';
	const char *end = text + len, *stop = memchr(text, bracket ? ']' : ':', len);
	const char *port = bracket && stop ? stop + 1 : stop;
	char host[NAME_BYTES_MAX + 1];
	const char *fault;
	size_t host_len;

	if (bracket && !stop)
		return "the address in a URL ends with ']'";
	text += bracket;
	host_len = (size_t)((stop ? stop : end) - text);
	if (host_len >= sizeof(host))
		return "a domain name has at most 253 bytes";
	memcpy(host, text, host_len);
	host[host_len] = 0;
	fault = form_host(host);
	if (fault || !port || port == end)
		return fault;
	if (*port != ':' || !is_port(port + 1, (size_t)(end - port) - 1))
		return "the port of a URL is between 1 and 65535";
	return NULL;
}

const char *form_url(const char *text)
{
	if (!strncasecmp(text, "https://", 8))
		return "must begin with http://: the test is made without TLS";
	if (strncasecmp(text, "http://", 7) != 0)
		return "must begin with http://";
	for (const char *c = text; *c; c++)
		if (!isascii(*c) || !isgraph((unsigned char)*c))
			return "a URL is in ASCII without spaces and control characters";
	text += 7;
	return authority_fault(text, strcspn(text, "/?#"));
}
