/* socks5_address - type, address and port as SOCKS5 has them in its messages and before datagrams. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "net/addr.h"

#define SOCKS5_ADDRESS_MAX (1 + 1 + 255 + 2)

struct socks5_address {
	struct addr addr;      /* AF_UNSPEC: the domain at addr.port */
	const uint8_t *domain; /* in what was read, not terminated */
	size_t domain_len;
};

/* Into SOCKS5_ADDRESS_MAX bytes: @domain (at most 255 bytes) at addr->port, or @addr if it is NULL. Returns
 * the length. */
size_t socks5_put_address(uint8_t *ret, const struct addr *addr, const char *domain);
/* Returns the length; 0: there is more to come; -EAFNOSUPPORT: no such type. */
int socks5_get_address(const uint8_t *data, size_t len, struct socks5_address *ret);
