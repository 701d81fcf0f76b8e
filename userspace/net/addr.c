#include "net/addr.h"
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define ADDR_BYTES_MAX 22

/* ::ffff:1.2.3.4 is 1.2.3.4 (RFC 4291 2.5.5.2). */
static void unwrap(struct addr *addr)
{
	struct in_addr v4;

	if (addr->family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&addr->v6))
		return;
	memcpy(&v4, &addr->v6.s6_addr[12], sizeof(v4));
	addr->family = AF_INET;
	addr->scope = 0;
	addr->v4 = v4;
}

int addr_parse(const char *text, uint16_t port, struct addr *ret)
{
	struct addr addr = { .port = port };

	if (inet_pton(AF_INET, text, &addr.v4) == 1)
		addr.family = AF_INET;
	else if (inet_pton(AF_INET6, text, &addr.v6) == 1)
		addr.family = AF_INET6;
	else
		return -EINVAL;
	unwrap(&addr);
	*ret = addr;
	return 0;
}

int addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret)
{
	struct addr addr = { .family = sa->sa_family };

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		addr.port = ntohs(in->sin_port);
		addr.v4 = in->sin_addr;
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

		addr.port = ntohs(in6->sin6_port);
		addr.v6 = in6->sin6_addr;
		addr.scope = in6->sin6_scope_id;
		unwrap(&addr);
	} else {
		return -EAFNOSUPPORT;
	}
	*ret = addr;
	return 0;
}

socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (addr->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret;

		*in = (struct sockaddr_in){ .sin_family = AF_INET,
					    .sin_port = htons(addr->port),
					    .sin_addr = addr->v4 };
		return sizeof(*in);
	}

	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
				      .sin6_port = htons(addr->port),
				      .sin6_addr = addr->v6,
				      .sin6_scope_id = addr->scope };
	return sizeof(*in6);
}

const char *addr_format(const struct addr *addr, char *buf)
{
	char ip[INET6_ADDRSTRLEN];

	if (addr->family == AF_INET) {
		inet_ntop(AF_INET, &addr->v4, ip, sizeof(ip));
		snprintf(buf, ADDR_STRLEN, "%s:%u", ip, addr->port);
	} else if (addr->family == AF_INET6) {
		inet_ntop(AF_INET6, &addr->v6, ip, sizeof(ip));
		if (addr->scope)
			snprintf(buf, ADDR_STRLEN, "[%s%%%u]:%u", ip, addr->scope, addr->port);
		else
			snprintf(buf, ADDR_STRLEN, "[%s]:%u", ip, addr->port);
	} else {
		snprintf(buf, ADDR_STRLEN, "none");
	}
	return buf;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family || a->port != b->port || a->scope != b->scope)
		return false;
	if (a->family == AF_INET)
		return a->v4.s_addr == b->v4.s_addr;
	return a->family != AF_INET6 || IN6_ARE_ADDR_EQUAL(&a->v6, &b->v6);
}

bool addr_is_unspecified(const struct addr *addr)
{
	if (addr->family == AF_INET)
		return addr->v4.s_addr == htonl(INADDR_ANY);
	return addr->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&addr->v6);
}

bool addr_is_loopback(const struct addr *addr)
{
	if (addr->family == AF_INET)
		return ntohl(addr->v4.s_addr) >> 24 == IN_LOOPBACKNET;
	return addr->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&addr->v6);
}

bool addr_is_multicast(const struct addr *addr)
{
	if (addr->family == AF_INET)
		return IN_MULTICAST(ntohl(addr->v4.s_addr)) ||
		       addr->v4.s_addr == htonl(INADDR_BROADCAST);
	return addr->family == AF_INET6 && IN6_IS_ADDR_MULTICAST(&addr->v6);
}

/* What addr_equal() compares; an address of no family has no bytes. */
static size_t put_addr(uint8_t *to, const struct addr *addr)
{
	uint8_t *at = to;

	if (addr->family == AF_INET) {
		at = mempcpy(at, &addr->v4, sizeof(addr->v4));
	} else if (addr->family == AF_INET6) {
		at = mempcpy(at, &addr->v6, sizeof(addr->v6));
		at = mempcpy(at, &addr->scope, sizeof(addr->scope));
	} else {
		return 0;
	}
	at = mempcpy(at, &addr->port, sizeof(addr->port));
	return (size_t)(at - to);
}

uint32_t addr_hash(const struct hash_key *key, const struct addr *a, const struct addr *b)
{
	uint8_t bytes[2 * ADDR_BYTES_MAX];
	size_t size = put_addr(bytes, a);

	size += put_addr(bytes + size, b);
	return (uint32_t)hash_bytes(key, bytes, size);
}
