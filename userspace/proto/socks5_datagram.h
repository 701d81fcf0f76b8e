/* socks5_datagram - the header before each datagram of a SOCKS5 association (RFC 1928 7). */
#pragma once
#include "proto/socks5_address.h"

#define SOCKS5_DATAGRAM_HEAD_MAX (3 + SOCKS5_ADDRESS_MAX)

/* The header, into SOCKS5_DATAGRAM_HEAD_MAX bytes, of a datagram to @domain (at most 255 bytes) at addr->port,
 * or to @addr if it is NULL. Returns its length. */
size_t socks5_wrap(uint8_t *ret, const struct addr *addr, const char *domain);
/* The length of the header, behind which the datagram begins; *@ret_source: AF_UNSPEC if the proxy names a
 * domain, or zeros. -EBADMSG: it is none; -EOPNOTSUPP: a fragment, which nobody has to reassemble. */
int socks5_unwrap(const uint8_t *data, size_t len, struct addr *ret_source);
