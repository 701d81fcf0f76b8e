#include "kern/wireguard_link.h"
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* Behind the rules that lead intercepted packets to us (534 to 536, deploy/), before main (32766). */
#define RULE_PRIORITY 540U
#define RULES_MOST    64 /* leftovers of one name */

int wireguard_netlink_open(struct mnl_socket **ret, int bus)
{
	struct mnl_socket *socket = mnl_socket_open2(bus, SOCK_CLOEXEC);
	int one = 1, err;

	if (!socket)
		return -errno;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, &one, sizeof(one)) < 0) {
		err = errno;
		mnl_socket_close(socket);
		return -err;
	}
	*ret = socket;
	return 0;
}

int wireguard_netlink_call(struct mnl_socket *socket, struct nlmsghdr *nlh, mnl_cb_t cb, void *data)
{
	_Alignas(NLMSG_ALIGNTO) char answer[WIREGUARD_NETLINK_BYTES];
	int r = MNL_CB_OK;

	nlh->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (mnl_socket_sendto(socket, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	while (r > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(socket, answer, sizeof(answer));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = mnl_cb_run(answer, (size_t)n, 0, mnl_socket_get_portid(socket), cb, data);
	}
	return r < 0 ? -errno : 0;
}

int wireguard_link_open(struct wireguard_link *link, const char *name)
{
	*link = (struct wireguard_link){ .index = 0 };
	if (strlen(name) >= sizeof(link->name))
		return -ENAMETOOLONG;
	memcpy(link->name, name, strlen(name));
	return wireguard_netlink_open(&link->route, NETLINK_ROUTE);
}

void wireguard_link_close(struct wireguard_link *link)
{
	if (link->route)
		mnl_socket_close(link->route);
	link->route = NULL;
}

/* A request of @type with its fixed header of @size bytes, zeroed, in @buf. */
static void *start(char *buf, uint16_t type, uint16_t flags, size_t size)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = flags;
	return mnl_nlmsg_put_extra_header(nlh, size);
}

static int call(struct wireguard_link *link, char *buf)
{
	return wireguard_netlink_call(link->route, (struct nlmsghdr *)buf, NULL, NULL);
}

int wireguard_link_create(struct wireguard_link *link)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];
	struct nlmsghdr *nlh = (struct nlmsghdr *)buf;
	struct nlattr *info;
	int r;

	start(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, link->name);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "wireguard");
	mnl_attr_nest_end(nlh, info);
	r = call(link, buf);
	return r ? r : wireguard_link_find(link);
}

int wireguard_link_find(struct wireguard_link *link)
{
	unsigned index = if_nametoindex(link->name);

	if (!index)
		return -errno;
	link->index = index;
	return 0;
}

bool wireguard_link_is_there(const struct wireguard_link *link)
{
	return link->index && if_nametoindex(link->name) == link->index;
}

int wireguard_link_delete(struct wireguard_link *link)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];
	struct ifinfomsg *header = start(buf, RTM_DELLINK, 0, sizeof(*header));

	header->ifi_index = (int)link->index;
	return call(link, buf);
}

int wireguard_link_set_mtu(struct wireguard_link *link, uint32_t mtu)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];
	struct ifinfomsg *header = start(buf, RTM_NEWLINK, 0, sizeof(*header));

	header->ifi_index = (int)link->index;
	mnl_attr_put_u32((struct nlmsghdr *)buf, IFLA_MTU, mtu);
	return call(link, buf);
}

void wireguard_link_set_quiet(struct wireguard_link *link)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];
	struct nlmsghdr *nlh = (struct nlmsghdr *)buf;
	struct ifinfomsg *header = start(buf, RTM_NEWLINK, 0, sizeof(*header));
	struct nlattr *families, *family;

	header->ifi_index = (int)link->index;
	families = mnl_attr_nest_start(nlh, IFLA_AF_SPEC);
	family = mnl_attr_nest_start(nlh, AF_INET6);
	mnl_attr_put_u8(nlh, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(nlh, family);
	mnl_attr_nest_end(nlh, families);
	(void)call(link, buf);
}

int wireguard_link_set_up(struct wireguard_link *link)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];
	struct ifinfomsg *header = start(buf, RTM_NEWLINK, 0, sizeof(*header));

	header->ifi_index = (int)link->index;
	header->ifi_flags = header->ifi_change = IFF_UP;
	return call(link, buf);
}

static size_t address_bytes(const struct addr *addr)
{
	return addr->family == AF_INET ? sizeof(addr->v4) : sizeof(addr->v6);
}

int wireguard_link_add_address(struct wireguard_link *link, const struct config_prefix *prefix)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];
	struct nlmsghdr *nlh = (struct nlmsghdr *)buf;
	struct ifaddrmsg *header = start(buf, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL,
					 sizeof(*header));

	header->ifa_family = (uint8_t)prefix->addr.family;
	header->ifa_prefixlen = prefix->bits;
	header->ifa_index = link->index;
	mnl_attr_put(nlh, IFA_LOCAL, address_bytes(&prefix->addr), &prefix->addr.v6);
	mnl_attr_put(nlh, IFA_ADDRESS, address_bytes(&prefix->addr), &prefix->addr.v6);
	mnl_attr_put_u32(nlh, IFA_FLAGS, IFA_F_NOPREFIXROUTE | IFA_F_NODAD);
	return call(link, buf);
}

/* The kernel refuses an IPv4 route whose address has bits behind the prefix. */
static void cut_host_bits(uint8_t *bytes, size_t size, unsigned bits)
{
	for (size_t i = 0; i < size; i++) {
		unsigned keep = bits < 8 ? bits : 8;

		bytes[i] &= (uint8_t)(0xff00U >> keep);
		bits -= keep;
	}
}

int wireguard_link_add_route(struct wireguard_link *link, const struct config_prefix *prefix,
			     uint32_t table)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];
	uint8_t destination[sizeof(struct in6_addr)];
	size_t size = address_bytes(&prefix->addr);
	struct nlmsghdr *nlh = (struct nlmsghdr *)buf;
	struct rtmsg *header = start(buf, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
				     sizeof(*header));

	memcpy(destination, &prefix->addr.v6, size);
	cut_host_bits(destination, size, prefix->bits);
	header->rtm_family = (uint8_t)prefix->addr.family;
	header->rtm_dst_len = prefix->bits;
	header->rtm_protocol = RTPROT_STATIC;
	header->rtm_scope = RT_SCOPE_LINK;
	header->rtm_type = RTN_UNICAST;
	mnl_attr_put(nlh, RTA_DST, size, destination);
	mnl_attr_put_u32(nlh, RTA_OIF, link->index);
	mnl_attr_put_u32(nlh, RTA_TABLE, table);
	return call(link, buf);
}

static struct fib_rule_hdr *start_rule(char *buf, uint16_t type, uint16_t flags, sa_family_t family,
				       const char *name)
{
	struct nlmsghdr *nlh = (struct nlmsghdr *)buf;
	struct fib_rule_hdr *header = start(buf, type, flags, sizeof(*header));

	header->family = (uint8_t)family;
	header->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(nlh, FRA_PRIORITY, RULE_PRIORITY);
	mnl_attr_put_strz(nlh, FRA_OIFNAME, name);
	return header;
}

int wireguard_link_add_rule(struct wireguard_link *link, sa_family_t family, uint32_t table)
{
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];

	start_rule(buf, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, family, link->name);
	mnl_attr_put_u32((struct nlmsghdr *)buf, FRA_TABLE, table);
	return call(link, buf);
}

void wireguard_link_delete_rules(struct wireguard_link *link)
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };
	_Alignas(NLMSG_ALIGNTO) char buf[WIREGUARD_NETLINK_BYTES];

	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
		for (int left = RULES_MOST; left; left--) { /* one a call; any table matches */
			start_rule(buf, RTM_DELRULE, 0, families[i], link->name);
			if (call(link, buf))
				break;
		}
}
