#include "route/private.h"
#include <arpa/inet.h>

static bool in(uint32_t address, uint32_t network, unsigned bits)
{
	return !((address ^ network) >> (32 - bits));
}

static bool is_private4(uint32_t address)
{
	return in(address, 0x0a000000, 8) ||  /* RFC 1918 */
	       in(address, 0xac100000, 12) || /* RFC 1918 */
	       in(address, 0xc0a80000, 16) || /* RFC 1918 */
	       in(address, 0x64400000, 10) || /* RFC 6598: behind a carrier's NAT */
	       in(address, INADDR_LOOPBACK, 8) || in(address, 0xa9fe0000, 16); /* RFC 3927 */
}

static bool is_private6(const struct in6_addr *address)
{
	return (address->s6_addr[0] & 0xfe) == 0xfc || /* RFC 4193 */
	       IN6_IS_ADDR_LINKLOCAL(address) || IN6_IS_ADDR_LOOPBACK(address);
}

bool route_is_private(const struct addr *addr)
{
	if (addr->family != AF_INET && addr->family != AF_INET6)
		return false;
	if (addr_is_unspecified(addr) || addr_is_multicast(addr))
		return true;
	return addr->family == AF_INET ? is_private4(ntohl(addr->v4.s_addr))
				       : is_private6(&addr->v6);
}
