#include "proto/socks5_address.h"
#include <errno.h>
#include <string.h>
#include "proto/cursor.h"

enum address_type { TYPE_IPV4 = 1, TYPE_DOMAIN = 3, TYPE_IPV6 = 4 };

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
	memcpy(at, data, len);
	return at + len;
}

size_t socks5_put_address(uint8_t *ret, const struct addr *addr, const char *domain)
{
	uint8_t *at = ret;

	if (domain) {
		*at++ = TYPE_DOMAIN;
		*at++ = (uint8_t)strlen(domain);
		at = put(at, domain, strlen(domain));
	} else if (addr->family == AF_INET) {
		*at++ = TYPE_IPV4;
		at = put(at, &addr->v4, sizeof(addr->v4));
	} else {
		*at++ = TYPE_IPV6;
		at = put(at, &addr->v6, sizeof(addr->v6));
	}
	*at++ = (uint8_t)(addr->port >> 8);
	*at++ = (uint8_t)addr->port;
	return (size_t)(at - ret);
}

/* Through a socket address, which unwraps IPv4-mapped ones. */
static struct addr get_ipv6(struct cursor *c)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	const uint8_t *from = cursor_take(c, sizeof(in6.sin6_addr));
	struct addr addr = { 0 };

	if (from)
		memcpy(&in6.sin6_addr, from, sizeof(in6.sin6_addr));
	(void)addr_from_sockaddr((struct sockaddr *)&in6, &addr);
	return addr;
}

int socks5_get_address(const uint8_t *data, size_t len, struct socks5_address *ret)
{
	struct cursor c = cursor_of(data, len);
	struct socks5_address address = { 0 };

	if (!len)
		return 0;
	switch (cursor_get(&c, 1)) {
	case TYPE_IPV4:
		address.addr.family = AF_INET;
		address.addr.v4.s_addr = htonl(cursor_get(&c, sizeof(address.addr.v4)));
		break;
	case TYPE_IPV6:
		address.addr = get_ipv6(&c);
		break;
	case TYPE_DOMAIN:
		address.domain_len = cursor_get(&c, 1);
		address.domain = cursor_take(&c, address.domain_len);
		break;
	default:
		return -EAFNOSUPPORT;
	}
	address.addr.port = (in_port_t)cursor_get(&c, 2);
	if (c.bad)
		return 0;
	*ret = address;
	return (int)(c.at - data);
}
