/* wireguard_link - the rtnetlink(7) side of a WireGuard interface: link, addresses, routes, rules.
 *
 * Private to kern/wireguard*.c. Each call is one request whose answer it waits for (the kernel
 * answers at once). 0 or -errno.
 */
#pragma once
#include <libmnl/libmnl.h>
#include <net/if.h>
#include "config/config.h"

#define WIREGUARD_NETLINK_BYTES 8192 /* of a message */

/* Close-on-exec, and errors do not bring the request back: it may hold keys. */
int wireguard_netlink_open(struct mnl_socket **ret, int bus);
/* Sends @nlh and waits for its ACK; @cb, which may be NULL, gets what comes before. */
int wireguard_netlink_call(struct mnl_socket *socket, struct nlmsghdr *nlh, mnl_cb_t cb,
			   void *data);

struct wireguard_link {
	struct mnl_socket *route; /* NULL: not open */
	char name[IFNAMSIZ];
	unsigned index; /* 0: there is none */
};

int wireguard_link_open(struct wireguard_link *link, const char *name);
void wireguard_link_close(struct wireguard_link *link);

/* -EOPNOTSUPP: no wireguard in this kernel. -EEXIST: something has the name. Sets the index. */
int wireguard_link_create(struct wireguard_link *link);
/* -ENODEV: an interface of this name is not there. Sets the index. */
int wireguard_link_find(struct wireguard_link *link);
/* Whether the interface with our name is the one with our index. */
bool wireguard_link_is_there(const struct wireguard_link *link);
int wireguard_link_delete(struct wireguard_link *link);
int wireguard_link_set_mtu(struct wireguard_link *link, uint32_t mtu);
/* No link-local address, and no packets for its sake, where there is IPv6; as wireguard.ko does. */
void wireguard_link_set_quiet(struct wireguard_link *link);
int wireguard_link_set_up(struct wireguard_link *link);
/* Without the route that the kernel would put into the main table. */
int wireguard_link_add_address(struct wireguard_link *link, const struct config_prefix *prefix);
/* Bits of the host are ignored; a route that is there already is fine. */
int wireguard_link_add_route(struct wireguard_link *link, const struct config_prefix *prefix,
			     uint32_t table);
/* `oif NAME lookup @table`: for sockets that are bound to the interface. */
int wireguard_link_add_rule(struct wireguard_link *link, sa_family_t family, uint32_t table);
/* Those of both families with our priority and our name, whoever made them. */
void wireguard_link_delete_rules(struct wireguard_link *link);
