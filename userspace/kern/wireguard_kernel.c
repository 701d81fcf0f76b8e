/* wireguard_kernel - wireguard.ko, configured by generic netlink (linux/wireguard.h). */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <string.h>
#include "kern/wireguard_backend.h"

static int take_family(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID &&
	    mnl_attr_validate(attr, MNL_TYPE_U16) >= 0)
		*(uint16_t *)data = mnl_attr_get_u16(attr);
	return MNL_CB_OK;
}

static int take_families(const struct nlmsghdr *nlh, void *data)
{
	return mnl_attr_parse(nlh, sizeof(struct genlmsghdr), take_family, data);
}

static struct nlmsghdr *start(char *buf, uint16_t family, uint8_t command, uint8_t version)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *header = mnl_nlmsg_put_extra_header(nlh, sizeof(*header));

	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	header->cmd = command;
	header->version = version;
	return nlh;
}

static int find_family(struct wireguard *w)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];
	struct nlmsghdr *nlh = start(buf, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	int r = wireguard_netlink_open(&w->generic, NETLINK_GENERIC);

	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
	if (!r)
		r = wireguard_netlink_call(w->generic, nlh, take_families, &w->family);
	return r ? r : w->family ? 0 : -ENOENT;
}

static void kernel_destroy(struct wireguard *w)
{
	if (w->generic)
		mnl_socket_close(w->generic);
	w->generic = NULL;
	if (wireguard_link_is_there(&w->link))
		(void)wireguard_link_delete(&w->link);
}

static int kernel_create(struct wireguard *w, char *reason)
{
	int r = wireguard_link_create(&w->link);

	if (r)
		return wireguard_failed(reason, "creating an interface of type wireguard", r);
	r = find_family(w);
	if (!r)
		return 0;
	kernel_destroy(w);
	/* Never -EOPNOTSUPP: the kernel has WireGuard, wireguard-go is no answer. */
	return wireguard_failed(reason, "generic netlink family wireguard",
				r == -EOPNOTSUPP ? -EIO : r);
}

static bool put_ip(struct nlmsghdr *nlh, size_t size, const struct config_prefix *prefix)
{
	size_t bytes = prefix->addr.family == AF_INET ? sizeof(struct in_addr)
						      : sizeof(struct in6_addr);
	struct nlattr *nest = mnl_attr_nest_start_check(nlh, size, 0);

	if (!nest)
		return false;
	if (!mnl_attr_put_u16_check(nlh, size, WGALLOWEDIP_A_FAMILY, prefix->addr.family) ||
	    !mnl_attr_put_check(nlh, size, WGALLOWEDIP_A_IPADDR, bytes, &prefix->addr.v6) ||
	    !mnl_attr_put_u8_check(nlh, size, WGALLOWEDIP_A_CIDR_MASK, prefix->bits)) {
		mnl_attr_nest_cancel(nlh, nest);
		return false;
	}
	mnl_attr_nest_end(nlh, nest);
	return true;
}

/* What later pieces of the same peer must not repeat: the flag would drop what came before. */
static bool put_peer_head(struct nlmsghdr *nlh, size_t size, const struct config_peer *peer)
{
	struct sockaddr_storage sa;
	struct addr endpoint;

	if (wireguard_endpoint_of(peer, &endpoint) &&
	    !mnl_attr_put_check(nlh, size, WGPEER_A_ENDPOINT, addr_to_sockaddr(&endpoint, &sa),
				&sa))
		return false;
	return mnl_attr_put_u32_check(nlh, size, WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS) &&
	       mnl_attr_put_check(nlh, size, WGPEER_A_PRESHARED_KEY, WG_KEY_LEN,
				  peer->pre_shared_key) &&
	       mnl_attr_put_u16_check(nlh, size, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
				      (uint16_t)peer->keepalive_s);
}

/* As much as fits of the peer at the cursor, and moves that on. Whether all of it did. */
static bool put_peer(struct wireguard_messages *m, struct nlmsghdr *nlh, size_t size)
{
	const struct config_peer *peer = &m->config->peers[m->peer];
	struct nlattr *nest = mnl_attr_nest_start_check(nlh, size, 0);
	struct nlattr *ips = NULL;

	if (!nest)
		return false;
	if (mnl_attr_put_check(nlh, size, WGPEER_A_PUBLIC_KEY, WG_KEY_LEN, peer->public_key) &&
	    (m->ip || put_peer_head(nlh, size, peer)))
		ips = mnl_attr_nest_start_check(nlh, size, WGPEER_A_ALLOWEDIPS);
	if (!ips) {
		mnl_attr_nest_cancel(nlh, nest);
		return false;
	}
	while (m->ip < peer->allowed_ip_count && put_ip(nlh, size, &peer->allowed_ips[m->ip]))
		m->ip++;
	mnl_attr_nest_end(nlh, ips);
	mnl_attr_nest_end(nlh, nest);
	if (m->ip < peer->allowed_ip_count)
		return false;
	m->peer++;
	m->ip = 0;
	return true;
}

bool wireguard_messages_next(struct wireguard_messages *m, char *buf, size_t size)
{
	struct nlmsghdr *nlh;
	struct nlattr *peers;

	if (m->begun && m->peer == m->config->peer_count)
		return false;
	nlh = start(buf, m->family, WG_CMD_SET_DEVICE, WG_GENL_VERSION);
	mnl_attr_put_u32(nlh, WGDEVICE_A_IFINDEX, m->index);
	if (!m->begun) {
		mnl_attr_put(nlh, WGDEVICE_A_PRIVATE_KEY, WG_KEY_LEN, m->config->private_key);
		mnl_attr_put_u16(nlh, WGDEVICE_A_LISTEN_PORT, m->config->listen_port);
		mnl_attr_put_u32(nlh, WGDEVICE_A_FWMARK, m->mark);
		mnl_attr_put_u32(nlh, WGDEVICE_A_FLAGS, WGDEVICE_F_REPLACE_PEERS);
	}
	m->begun = true;
	peers = mnl_attr_nest_start(nlh, WGDEVICE_A_PEERS);
	while (m->peer < m->config->peer_count && put_peer(m, nlh, size))
		;
	mnl_attr_nest_end(nlh, peers);
	return true;
}

static int kernel_configure(struct wireguard *w, uint32_t mark, char *reason)
{
	struct wireguard_messages messages = {
		.config = w->config, .mark = mark, .index = w->link.index, .family = w->family
	};
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];
	int r = 0;

	while (!r && wireguard_messages_next(&messages, buf, sizeof(buf)))
		r = wireguard_netlink_call(w->generic, (struct nlmsghdr *)buf, NULL, NULL);
	explicit_bzero(buf, sizeof(buf));
	return r ? wireguard_failed(reason, "WG_CMD_SET_DEVICE", r) : 0;
}

void wireguard_messages_endpoint(char *buf, const struct wireguard *w, const uint8_t *public_key,
				 const struct addr *endpoint)
{
	struct nlmsghdr *nlh = start(buf, w->family, WG_CMD_SET_DEVICE, WG_GENL_VERSION);
	struct nlattr *peers, *peer;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(endpoint, &sa);

	mnl_attr_put_u32(nlh, WGDEVICE_A_IFINDEX, w->link.index);
	peers = mnl_attr_nest_start(nlh, WGDEVICE_A_PEERS);
	peer = mnl_attr_nest_start(nlh, 0);
	mnl_attr_put(nlh, WGPEER_A_PUBLIC_KEY, WG_KEY_LEN, public_key);
	mnl_attr_put_u32(nlh, WGPEER_A_FLAGS, WGPEER_F_UPDATE_ONLY);
	mnl_attr_put(nlh, WGPEER_A_ENDPOINT, len, &sa);
	mnl_attr_nest_end(nlh, peer);
	mnl_attr_nest_end(nlh, peers);
}

static int kernel_set_endpoint(struct wireguard *w, const uint8_t *public_key,
			       const struct addr *endpoint, char *reason)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];
	int r;

	wireguard_messages_endpoint(buf, w, public_key, endpoint);
	r = wireguard_netlink_call(w->generic, (struct nlmsghdr *)buf, NULL, NULL);
	return r ? wireguard_failed(reason, "WG_CMD_SET_DEVICE", r) : 0;
}

const struct wireguard_backend wireguard_kernel = { .name = "kernel",
						    .create = kernel_create,
						    .configure = kernel_configure,
						    .set_endpoint = kernel_set_endpoint,
						    .destroy = kernel_destroy };
