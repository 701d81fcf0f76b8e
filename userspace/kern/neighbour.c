#include "kern/neighbour.h"
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include "kern/netlink.h"

#define QUESTION_BYTES 128
#define ANSWER_BYTES   1024

static const struct nlmsghdr *put_question(char *buffer, struct route_socket *socket, int interface,
					   const struct addr *addr)
{
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
	return m;
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

int neighbour_mac(struct route_socket *socket, int interface, const struct addr *addr,
		  uint8_t ret_mac[NEIGHBOUR_MAC_BYTES])
{
	_Alignas(struct nlmsghdr) char question[QUESTION_BYTES], buffer[ANSWER_BYTES];
	const struct nlmsghdr *answer;

	if (netlink_ask(socket->fd, put_question(question, socket, interface, addr), buffer,
			sizeof(buffer), &answer))
		return -ENOENT;
	return take_answer(answer, ret_mac);
}
