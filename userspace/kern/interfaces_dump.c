#include "kern/interfaces_dump.h"
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include "kern/interfaces_type.h"
#include "kern/netlink.h"

#define TRIES         4     /* of a dump that changes come between */
#define LINKS_MAX     65536 /* what comes after is not seen */
#define ADDRESSES_MAX 262144

/* Room for one more of @size bytes in @list. */
static int make_room(void **list, size_t count, size_t *room, size_t size)
{
	size_t wanted = *room ? 2 * *room : 64;
	void *bigger;

	if (count < *room)
		return 0;
	bigger = realloc(*list, wanted * size);
	if (!bigger)
		return -ENOMEM;
	*list = bigger;
	*room = wanted;
	return 0;
}

static void copy_name(char name[IFNAMSIZ], const struct nlattr *attribute)
{
	size_t len = attribute ? mnl_attr_get_payload_len(attribute) : 0;

	if (len > IFNAMSIZ - 1)
		len = IFNAMSIZ - 1;
	memset(name, 0, IFNAMSIZ);
	if (len)
		memcpy(name, mnl_attr_get_payload(attribute),
		       strnlen(mnl_attr_get_payload(attribute), len));
}

static void copy_kind(char kind[IFNAMSIZ], const struct nlattr *info)
{
	const struct nlattr *list[IFLA_INFO_KIND + 1] = { NULL };
	struct netlink_table table = { .list = list, .count = IFLA_INFO_KIND + 1 };

	if (info)
		mnl_attr_parse_nested(info, netlink_tabulate, &table);
	copy_name(kind, list[IFLA_INFO_KIND]);
}

static enum network_type type_of(const struct netif_dump *dump, const struct netif *netif,
				 unsigned short arphrd, const struct nlattr *hardware)
{
	const struct netif *known = dump->known ? netif_by_index(dump->known, netif->index) : NULL;
	struct netif_facts facts = {
		.index = netif->index, .name = netif->name, .kind = netif->kind, .arphrd = arphrd
	};

	if (known && !strcmp(known->name, netif->name) && !strcmp(known->kind, netif->kind))
		return known->type;
	if (hardware && mnl_attr_get_payload_len(hardware) <= sizeof(facts.hardware)) {
		facts.hardware_length = mnl_attr_get_payload_len(hardware);
		memcpy(facts.hardware, mnl_attr_get_payload(hardware), facts.hardware_length);
	}
	return netif_type(&facts, dump->types, dump->type_count);
}

static int on_link(const struct nlmsghdr *m, void *data)
{
	const struct nlattr *attributes[IFLA_LINKINFO + 1] = { NULL };
	struct netlink_table table = { .list = attributes, .count = IFLA_LINKINFO + 1 };
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(m);
	struct netif_dump *dump = data;
	struct netif netif = { 0 };
	int r;

	if (m->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(m) < sizeof(*info) ||
	    info->ifi_family != AF_UNSPEC || dump->link_count == LINKS_MAX)
		return 0;
	r = make_room((void **)&dump->links, dump->link_count, &dump->link_room, sizeof(netif));
	if (r)
		return r;
	mnl_attr_parse(m, sizeof(*info), netlink_tabulate, &table);
	netif.index = info->ifi_index;
	copy_name(netif.name, attributes[IFLA_IFNAME]);
	copy_kind(netif.kind, attributes[IFLA_LINKINFO]);
	netif.up = info->ifi_flags & IFF_UP;
	netif.running = netif.up && (info->ifi_flags & IFF_RUNNING);
	netif.loopback = info->ifi_flags & IFF_LOOPBACK;
	if (netlink_holds(attributes[IFLA_MTU], sizeof(uint32_t)))
		netif.mtu = mnl_attr_get_u32(attributes[IFLA_MTU]);
	netif.type = type_of(dump, &netif, info->ifi_type, attributes[IFLA_ADDRESS]);
	dump->links[dump->link_count++] = netif;
	return 0;
}

/* On a point-to-point link IFA_ADDRESS is the peer's, and IFA_LOCAL ours; elsewhere IPv6 has no
 * IFA_LOCAL. */
static bool own_address(const struct ifaddrmsg *info, const struct nlattr **attributes,
			struct addr *ret)
{
	const struct nlattr *own = attributes[IFA_LOCAL] ? attributes[IFA_LOCAL]
							 : attributes[IFA_ADDRESS];
	struct addr addr = { .family = info->ifa_family };

	if (info->ifa_family == AF_INET && netlink_holds(own, sizeof(addr.v4)))
		memcpy(&addr.v4, mnl_attr_get_payload(own), sizeof(addr.v4));
	else if (info->ifa_family == AF_INET6 && netlink_holds(own, sizeof(addr.v6)))
		memcpy(&addr.v6, mnl_attr_get_payload(own), sizeof(addr.v6));
	else
		return false;
	if (addr.family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&addr.v6))
		addr.scope = info->ifa_index;
	*ret = addr;
	return true;
}

static int on_address(const struct nlmsghdr *m, void *data)
{
	const struct nlattr *attributes[IFA_FLAGS + 1] = { NULL };
	struct netlink_table table = { .list = attributes, .count = IFA_FLAGS + 1 };
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(m);
	struct netif_dump *dump = data;
	struct netif_link_address *to;
	uint32_t flags;
	int r;

	if (m->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(m) < sizeof(*info) ||
	    dump->address_count == ADDRESSES_MAX)
		return 0;
	mnl_attr_parse(m, sizeof(*info), netlink_tabulate, &table);
	flags = netlink_holds(attributes[IFA_FLAGS], sizeof(flags))
			? mnl_attr_get_u32(attributes[IFA_FLAGS])
			: info->ifa_flags;
	if (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) /* bind() refuses it */
		return 0;
	r = make_room((void **)&dump->addresses, dump->address_count, &dump->address_room,
		      sizeof(*to));
	if (r)
		return r;
	to = &dump->addresses[dump->address_count];
	*to = (struct netif_link_address){ .index = (int)info->ifa_index,
					   .address.bits = info->ifa_prefixlen };
	if (own_address(info, attributes, &to->address.addr))
		dump->address_count++;
	return 0;
}

static int dump_links(struct netif_dump *dump)
{
	_Alignas(struct nlmsghdr) char buffer[64];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);

	m->nlmsg_type = RTM_GETLINK;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	m->nlmsg_seq = ++dump->seq;
	mnl_nlmsg_put_extra_header(m, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(m, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS); /* 4.5; most of the text */
	dump->link_count = 0;
	return netlink_dump(dump->fd, m, on_link, dump);
}

/* Of all families: without IPv6 in the kernel, asking for it alone gives those of all others. */
static int dump_addresses(struct netif_dump *dump)
{
	_Alignas(struct nlmsghdr) char buffer[64];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);

	m->nlmsg_type = RTM_GETADDR;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	m->nlmsg_seq = ++dump->seq;
	mnl_nlmsg_put_extra_header(m, sizeof(struct ifaddrmsg));
	dump->address_count = 0;
	return netlink_dump(dump->fd, m, on_address, dump);
}

/* Changes without a pause spoil every try. Then the last must do: the monitor has heard of the changes
 * and reads again. */
static int until_whole(int (*read_all)(struct netif_dump *), struct netif_dump *dump)
{
	int r = -EINTR;

	for (int i = 0; i < TRIES && r == -EINTR; i++)
		r = read_all(dump);
	return r == -EINTR ? 0 : r;
}

static int by_index(const void *a, const void *b)
{
	const struct netif *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

/* Sorted, and each index once: a disturbed dump may tell of an interface twice. */
static void sort_links(struct netif_dump *dump)
{
	size_t kept = 0;

	if (!dump->link_count)
		return;
	qsort(dump->links, dump->link_count, sizeof(*dump->links), by_index);
	for (size_t i = 1; i < dump->link_count; i++)
		if (dump->links[i].index != dump->links[kept].index)
			dump->links[++kept] = dump->links[i];
	dump->link_count = kept + 1;
}

int netif_dump_read(struct netif_dump *dump)
{
	int r = until_whole(dump_links, dump);

	if (!r)
		r = until_whole(dump_addresses, dump);
	if (!r)
		sort_links(dump);
	return r;
}

void netif_dump_deinit(struct netif_dump *dump)
{
	free(dump->links);
	free(dump->addresses);
}
