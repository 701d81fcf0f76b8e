#include "dial/match.h"
#include <errno.h>
#include <string.h>
#include "base/log.h"
#include "kern/interfaces.h"
#include "kern/route.h"
#include "net/sock.h"

#define IPV4_AND_TCP 40U
#define IPV6_AND_TCP 60U

struct syn_limits match_client(const struct dial_env *env, int client)
{
	struct sock_agreed agreed;

	if (!env->packet || sock_agreed(client, &agreed))
		return (struct syn_limits){ 0 };
	return (struct syn_limits){ .no_timestamps = !agreed.timestamps,
				    .no_sack = !agreed.sack,
				    .mss = agreed.mss > UINT16_MAX ? UINT16_MAX
								   : (uint16_t)agreed.mss };
}

/* Whether a SYN says too much that leaves by an interface with @mtu. */
static bool has_to(const struct dial_request *request, uint32_t mtu)
{
	const struct syn_limits *syn = &request->syn;
	uint32_t headers = request->target.addr.family == AF_INET ? IPV4_AND_TCP : IPV6_AND_TCP;

	return syn->no_timestamps || syn->no_sack || (syn->mss && syn->mss + headers < mtu);
}

/* By which interface it will leave. */
static int ask_way(const struct dial_request *request, int fd)
{
	struct route_question question = { .destination = request->target.addr,
					   .mark = sock_mark(fd),
					   .interface = sock_bound_interface(fd) };
	struct route_answer answer;
	struct addr source;
	int r;

	if (!sock_local_addr(fd, &source) && !addr_is_unspecified(&source) &&
	    !sock_is_transparent(fd, source.family)) {
		question.source = source;
		question.source.port = 0;
	}
	r = route_ask(request->env->routes, &question, &answer);
	return r ? r : answer.interface;
}

static void limit_syn(const struct dial_request *request, int fd, int interface)
{
	static _Thread_local struct log_limit limit;
	int r = packet_limit_syn(request->env->packet, fd, interface, &request->syn);

	if (r && r != -EOPNOTSUPP && log_allow(&limit))
		log_warn("dial",
			 "packet: connections by interface %d cannot be made like their "
			 "clients': tc egress, or its map: %s",
			 interface, strerror(-r));
}

void match_syn(const struct dial_request *request, int fd)
{
	const struct dial_env *env = request->env;
	const struct addr *to = &request->target.addr;
	const struct netif *netif;
	int interface;

	/* tc takes no link-local addresses */
	if (!env->packet || !env->interfaces || addr_is_loopback(to) || to->scope ||
	    !has_to(request, env->interfaces->mtu_most))
		return;
	interface = ask_way(request, fd);
	if (interface < 0)
		return; /* connect() will say why */
	netif = netif_by_index(env->interfaces, interface);
	if (!netif || has_to(request, netif->mtu))
		limit_syn(request, fd, interface);
}
