/* ground - what an upstream socket stands on: its own address, the interface it is bound to. */
#include "dial/packet.h"
#include "flow/worker.h"

/* Its packets would go nowhere until it times out. A socket with the client's address needs none of ours. */
static enum flow_end lost_ground(int fd, const struct netif_list *interfaces)
{
	int interface = sock_bound_interface(fd);
	const struct netif *bound = netif_by_index(interfaces, interface);
	struct addr local;

	if (interface && !(bound && bound->up))
		return END_INTERFACE_GONE;
	if (sock_local_addr(fd, &local) || addr_is_unspecified(&local) ||
	    sock_is_transparent(fd, local.family))
		return END_NONE;
	local.port = 0;
	return netif_has_address(interfaces, &local) ? END_NONE : END_ADDRESS_GONE;
}

void tcp_flow_check_interfaces(struct tcp_flow *f, const struct netif_list *interfaces)
{
	enum flow_end lost;

	/* of another network namespace @interfaces knows nothing */
	if (f->state != FLOW_RELAY ||
	    sock_netns_cookie(f->side[UPSTREAM].fd) != sock_netns_cookie(f->side[CLIENT].fd))
		return;
	lost = lost_ground(f->side[UPSTREAM].fd, interfaces);
	if (lost)
		tcp_flow_kill(f, lost);
	else
		relay_packet_follow(&f->relay);
}

enum flow_end udp_lost_ground(const struct udp_session *s, const struct netif_list *interfaces)
{
	if (s->state != UDP_RELAY || s->way->fd < 0 ||
	    sock_netns_cookie(s->way->fd) != s->worker->netns_cookie)
		return END_NONE;
	return lost_ground(s->way->fd, interfaces);
}
