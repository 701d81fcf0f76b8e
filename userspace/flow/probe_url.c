#include "flow/probe_url.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A control character or a space would end the line of the request that it is put into. */
static bool is_clean(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || (unsigned char)*text == 0x7f)
			return false;
	return true;
}

static int parse_port(const char *text, uint16_t *ret)
{
	char *end;
	unsigned long port;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	port = strtoul(text, &end, 10);
	if (*end || !port || port > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

/* Brackets are only around an IPv6 address, and it is only in brackets. */
static int take_host(const char *text, size_t len, uint16_t port, struct probe_url *url)
{
	bool brackets = len > 2 && text[0] == '[' && text[len - 1] == ']';

	if (brackets) {
		text++;
		len -= 2;
	}
	if (!len || len >= sizeof(url->host))
		return -EINVAL;
	snprintf(url->host, sizeof(url->host), "%.*s", (int)len, text);
	url->addr.port = port;
	if (brackets)
		return addr_parse(url->host, port, &url->addr);
	if (strpbrk(url->host, "[]:@"))
		return -EINVAL;
	if (addr_parse(url->host, port, &url->addr))
		url->addr = (struct addr){ .family = AF_UNSPEC, .port = port };
	return 0;
}

static int take_authority(struct probe_url *url)
{
	const char *host = url->authority, *end = *host == '[' ? strchr(host, ']') : host;
	const char *colon = end ? strchr(end, ':') : NULL;
	uint16_t port = 80;

	if (!end || (colon && parse_port(colon + 1, &port)))
		return -EINVAL;
	return take_host(host, colon ? (size_t)(colon - host) : strlen(host), port, url);
}

int probe_url_parse(const char *text, struct probe_url *ret)
{
	static const char scheme[] = "http://";
	struct probe_url url = { 0 };
	size_t authority, rest;
	const char *slash;
	int r;

	if (strncasecmp(text, scheme, strlen(scheme)) != 0 || !is_clean(text))
		return -EINVAL;
	text += strlen(scheme);
	authority = strcspn(text, "/?#");
	rest = strcspn(text + authority, "#");
	slash = text[authority] == '/' ? "" : "/";
	if (authority >= sizeof(url.authority) || strlen(slash) + rest >= sizeof(url.path))
		return -EINVAL;
	snprintf(url.authority, sizeof(url.authority), "%.*s", (int)authority, text);
	snprintf(url.path, sizeof(url.path), "%s%.*s", slash, (int)rest, text + authority);
	r = take_authority(&url);
	if (!r)
		*ret = url;
	return r;
}
