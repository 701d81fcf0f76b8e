#include "proto/socks5_datagram.h"
#include <errno.h>
#include <string.h>

#define HEAD 3 /* reserved, reserved, number of the fragment; then the address */

size_t socks5_wrap(uint8_t *ret, const struct addr *addr, const char *domain)
{
	memset(ret, 0, HEAD);
	return HEAD + socks5_put_address(ret + HEAD, addr, domain);
}

int socks5_unwrap(const uint8_t *data, size_t len, struct addr *ret_source)
{
	struct socks5_address address;
	int n;

	if (len < HEAD || data[0] || data[1])
		return -EBADMSG;
	n = socks5_get_address(data + HEAD, len - HEAD, &address);
	if (n <= 0)
		return -EBADMSG;
	if (data[2])
		return -EOPNOTSUPP;
	*ret_source = address.addr;
	if (address.domain || addr_is_unspecified(&address.addr))
		*ret_source = (struct addr){ .family = AF_UNSPEC };
	return HEAD + n;
}
