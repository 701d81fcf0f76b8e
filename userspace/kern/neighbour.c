#include "kern/neighbour.h"
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include "kern/netlink.h"

#define QUESTION_BYTES 128
#define ANSWER_BYTES   1024
#define ANSWERS_MAX    16 /* stale ones, before ours */

static int send_question(struct route_socket *socket, int interface, const struct addr *addr)
{
	_Alignas(struct nlmsghdr) char buffer[QUESTION_BYTES];
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
	struct ndmsg *ndm = mnl_nlmsg_put_extra_header(m, sizeof(*ndm));

	m->nlmsg_type = RTM_GETNEIGH;
	m->nlmsg_flags = NLM_F_REQUEST;
	m->nlmsg_seq = ++socket->seq;
	ndm->ndm_family = (unsigned char)addr->family;
	ndm->ndm_ifindex = interface;
	if (addr->family == AF_INET)
		mnl_attr_put(m, NDA_DST, sizeof(addr->v4), &addr->v4);
	else
		mnl_attr_put(m, NDA_DST, sizeof(addr->v6), &addr->v6);
	return netlink_send(socket->fd, m);
}

static int take_answer(const struct nlmsghdr *m, uint8_t *ret_mac)
{
	const struct nlattr *attributes[NDA_LLADDR + 1] = { NULL };
	struct netlink_table table = { .list = attributes, .count = NDA_LLADDR + 1 };

	if (m->nlmsg_type != RTM_NEWNEIGH || mnl_nlmsg_get_payload_len(m) < sizeof(struct ndmsg))
		return -ENOENT;
	mnl_attr_parse(m, sizeof(struct ndmsg), netlink_tabulate, &table);
	if (!attributes[NDA_LLADDR] ||
	    mnl_attr_get_payload_len(attributes[NDA_LLADDR]) != NEIGHBOUR_MAC_BYTES)
		return -ENOENT;
	memcpy(ret_mac, mnl_attr_get_payload(attributes[NDA_LLADDR]), NEIGHBOUR_MAC_BYTES);
	return 0;
}

/* The kernel answers inside of sendmsg(): what is not there now will never be. */
int neighbour_mac(struct route_socket *socket, int interface, const struct addr *addr,
		  uint8_t ret_mac[NEIGHBOUR_MAC_BYTES])
{
	_Alignas(struct nlmsghdr) char buffer[ANSWER_BYTES];
	int r = send_question(socket, interface, addr);

	for (int i = 0; !r && i < ANSWERS_MAX; i++) {
		ssize_t n = netlink_receive(socket->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		const struct nlmsghdr *m = (const struct nlmsghdr *)buffer;

		if (n < 0)
			return -ENOENT;
		if (mnl_nlmsg_ok(m, (int)n) && m->nlmsg_seq == socket->seq)
			return take_answer(m, ret_mac);
	}
	return -ENOENT;
}
