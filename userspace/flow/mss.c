#include "flow/mss.h"
#include <string.h>

#define IPV4_AND_TCP 40U
#define IPV6_AND_TCP 60U
#define MSS_LEAST    88U    /* TCP_MIN_MSS */
#define MSS_MOST     32767U /* MAX_TCP_WINDOW */

static bool has_address_of(const struct netif *netif, sa_family_t family)
{
	for (size_t i = 0; i < netif->address_count; i++) {
		const struct addr *addr = &netif->addresses[i].addr;

		if (addr->family == family &&
		    !(family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&addr->v6)))
			return true;
	}
	return false;
}

static bool is_bound_to(const struct config *config, const struct netif *netif)
{
	for (size_t i = 0; i < config->outbound_count; i++) {
		const struct config_outbound *outbound = &config->outbounds[i];
		const char *name = outbound->type == OUTBOUND_WIREGUARD ? outbound->wireguard.name
									: outbound->bind_interface;

		if (name && !outbound->netns && !strcmp(name, netif->name))
			return true;
	}
	return false;
}

/* The smallest MTU of a family's uplinks if packets of clients may be larger; 0: they are not. Clients are where an
 * address is: not behind the ports of a bridge, or what PPPoE runs on. */
static uint32_t bottleneck(const struct config *config, const struct netif_list *interfaces,
			   sa_family_t family)
{
	uint32_t least = UINT32_MAX, most = 0;

	for (size_t i = 0; i < interfaces->count; i++) {
		const struct netif *netif = &interfaces->list[i];

		if (!netif->up || netif->loopback)
			continue;
		if (netif->address_count && netif->mtu > most)
			most = netif->mtu;
		if (netif->mtu < least &&
		    ((family == AF_INET ? netif->default4 : netif->default6) ||
		     (has_address_of(netif, family) && is_bound_to(config, netif))))
			least = netif->mtu;
	}
	return least < most ? least : 0;
}

static uint32_t payload(uint32_t mtu, uint32_t headers)
{
	uint32_t mss = mtu > headers ? mtu - headers : 0;

	if (!mtu)
		return 0;
	return mss < MSS_LEAST ? MSS_LEAST : mss > MSS_MOST ? MSS_MOST : mss;
}

uint32_t mss_for(const struct config *config, const struct netif_list *interfaces,
		 const struct addr *listen)
{
	bool both = listen->family == AF_INET6 && addr_is_unspecified(listen);
	uint32_t four = 0, six = 0;

	if (both || listen->family == AF_INET)
		four = payload(bottleneck(config, interfaces, AF_INET), IPV4_AND_TCP);
	if (listen->family == AF_INET6)
		six = payload(bottleneck(config, interfaces, AF_INET6), IPV6_AND_TCP);
	/* One number is for the payload of both: IPv4 could have 20 bytes more. */
	return !six || (four && four < six) ? four : six;
}
