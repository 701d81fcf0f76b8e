/* addr - an IP address with a port, as a value. IPv4-mapped IPv6 addresses are unwrapped on the way in. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include "base/hash.h"

struct addr {
	sa_family_t family; /* AF_INET, AF_INET6, or AF_UNSPEC for none */
	in_port_t port;     /* host byte order */
	uint32_t scope;     /* interface index of a link-local IPv6 address */
	union {
		struct in_addr v4;
		struct in6_addr v6;
	};
};

#define ADDR_STRLEN (INET6_ADDRSTRLEN + 20) /* [address%scope]:port and NUL */

/* -EINVAL: not an IP address. @port is in host byte order. */
int addr_parse(const char *text, uint16_t port, struct addr *ret);
/* -EAFNOSUPPORT: neither IPv4 nor IPv6. */
int addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret);
/* The length for connect() or bind(). */
socklen_t addr_to_sockaddr(const struct addr *addr, struct sockaddr_storage *ret);
/* "1.2.3.4:80" or "[::1]:80", into @buf of ADDR_STRLEN bytes, which it returns. */
const char *addr_format(const struct addr *addr, char *buf);

bool addr_equal(const struct addr *a, const struct addr *b);
bool addr_is_unspecified(const struct addr *addr); /* 0.0.0.0, :: */
bool addr_is_loopback(const struct addr *addr);    /* 127.0.0.0/8, ::1 */
bool addr_is_multicast(const struct addr *addr);   /* and 255.255.255.255 */
/* Of two, as addr_equal() sees them; AF_UNSPEC: nothing. */
uint32_t addr_hash(const struct hash_key *key, const struct addr *a, const struct addr *b);
