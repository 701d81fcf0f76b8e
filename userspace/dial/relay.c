#include "dial/relay.h"
#include "kern/interfaces.h"
#include "net/sock.h"

/* Loopback is the proxy's own (v2ray names it unless it is told otherwise), never ours, where other services
 * listen. */
static bool is_at_proxy(const struct addr *addr, const struct target *proxy)
{
	return addr_is_unspecified(addr) ||
	       (addr_is_loopback(addr) && !addr_is_loopback(&proxy->addr));
}

static struct target target_of(const struct handshake_relay *relay, const struct target *proxy)
{
	struct target target = { .addr = relay->addr };

	if (relay->domain[0] && addr_parse(relay->domain, relay->addr.port, &target.addr))
		target.domain = relay->domain;
	else if (target.addr.family == AF_UNSPEC || is_at_proxy(&target.addr, proxy))
		target = *proxy;
	target.addr.port = relay->addr.port;
	return target;
}

void relay_request(struct dial_request *request, const struct handshake_relay *relay,
		   const struct target *proxy, int stream)
{
	const struct netif_list *interfaces = request->env->interfaces;
	int bound = sock_bound_interface(stream);

	request->target = target_of(relay, proxy);
	request->type = SOCK_DGRAM;
	request->one_peer = request->no_trains = true;
	request->interface = NULL; /* the caller's may be gone by now */
	request->unbound = false;
	if (bound && interfaces) /* a proxy may want both from one address */
		request->interface = netif_by_index(interfaces, bound);
}
