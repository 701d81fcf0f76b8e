#include "kern/route.h"
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include "base/cleanup.h"
#include "kern/netlink.h"
#include "net/sock.h"

#define QUESTION_BYTES 256
#define ANSWER_BYTES   4096 /* one route; with next hops without end it is -EMSGSIZE */

struct answer {
	unsigned char type;      /* RTN_* */
	struct route_answer way; /* interface 0: one of several next hops */
};

int route_socket_init(struct route_socket *socket)
{
	int fd = netlink_open(0);

	*socket = (struct route_socket){ .fd = fd < 0 ? -1 : fd };
	return fd < 0 ? fd : 0;
}

void route_socket_deinit(struct route_socket *socket)
{
	cleanup_close(&socket->fd);
	*socket = (struct route_socket){ .fd = -1 };
}

static void put_address(struct nlmsghdr *m, uint16_t type, const struct addr *addr)
{
	if (addr->family == AF_INET)
		mnl_attr_put(m, type, sizeof(addr->v4), &addr->v4);
	else
		mnl_attr_put(m, type, sizeof(addr->v6), &addr->v6);
}

static const struct nlmsghdr *put_question(char *buffer, struct route_socket *socket,
					   const struct route_question *q, unsigned flags)
{
	struct nlmsghdr *m = mnl_nlmsg_put_header(buffer);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(m, sizeof(*rtm));
	uint8_t bits = q->destination.family == AF_INET ? 32 : 128;

	m->nlmsg_type = RTM_GETROUTE;
	m->nlmsg_flags = NLM_F_REQUEST;
	m->nlmsg_seq = ++socket->seq;
	rtm->rtm_family = (unsigned char)q->destination.family;
	rtm->rtm_dst_len = bits;
	rtm->rtm_flags = flags;
	put_address(m, RTA_DST, &q->destination);
	if (q->source.family != AF_UNSPEC) {
		rtm->rtm_src_len = bits;
		put_address(m, RTA_SRC, &q->source);
	}
	mnl_attr_put_u32(m, RTA_MARK, q->mark);
	if (q->interface)
		mnl_attr_put_u32(m, RTA_OIF, (uint32_t)q->interface);
	return m;
}

static bool take_address(sa_family_t family, const void *bytes, size_t size, struct addr *ret)
{
	const bool is_v4 = family == AF_INET;

	if ((!is_v4 && family != AF_INET6) || size < (is_v4 ? sizeof(ret->v4) : sizeof(ret->v6)))
		return false;
	*ret = (struct addr){ .family = family };
	if (is_v4)
		memcpy(&ret->v4, bytes, sizeof(ret->v4));
	else
		memcpy(&ret->v6, bytes, sizeof(ret->v6));
	return true;
}

static bool needs_scope(const struct addr *addr)
{
	return addr->family == AF_INET6 &&
	       (IN6_IS_ADDR_LINKLOCAL(&addr->v6) || IN6_IS_ADDR_MC_LINKLOCAL(&addr->v6) ||
		IN6_IS_ADDR_MC_NODELOCAL(&addr->v6));
}

/* Without a gateway there is the destination, which the answer tells as well. */
static struct addr next_hop_of(const struct nlattr *const *attributes, sa_family_t family)
{
	const struct nlattr *via = attributes[RTA_VIA], *plain = attributes[RTA_GATEWAY];
	struct addr addr = { .family = AF_UNSPEC };

	if (netlink_holds(via, sizeof(struct rtvia))) {
		const struct rtvia *v = mnl_attr_get_payload(via);

		(void)take_address(v->rtvia_family, v->rtvia_addr,
				   mnl_attr_get_payload_len(via) - sizeof(*v), &addr);
		return addr;
	}
	if (!plain)
		plain = attributes[RTA_DST];
	if (plain)
		(void)take_address(family, mnl_attr_get_payload(plain),
				   mnl_attr_get_payload_len(plain), &addr);
	return addr;
}

static int take_answer(const struct nlmsghdr *m, struct answer *ret)
{
	const struct nlattr *attributes[RTA_VIA + 1] = { NULL };
	struct netlink_table table = { .list = attributes, .count = RTA_VIA + 1 };
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(m);
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(m);

	if (m->nlmsg_type == NLMSG_ERROR && mnl_nlmsg_get_payload_len(m) >= sizeof(error->error))
		return error->error < 0 ? error->error : -EBADMSG;
	if (m->nlmsg_type != RTM_NEWROUTE || mnl_nlmsg_get_payload_len(m) < sizeof(*rtm))
		return -EBADMSG;
	mnl_attr_parse(m, sizeof(*rtm), netlink_tabulate, &table);
	*ret = (struct answer){ .type = rtm->rtm_type };
	if (netlink_holds(attributes[RTA_OIF], sizeof(uint32_t)))
		ret->way.interface = (int)mnl_attr_get_u32(attributes[RTA_OIF]);
	ret->way.next_hop = next_hop_of(attributes, rtm->rtm_family);
	if (needs_scope(&ret->way.next_hop))
		ret->way.next_hop.scope = (uint32_t)ret->way.interface;
	return 0;
}

static int ask(struct route_socket *socket, const struct route_question *q, unsigned flags,
	       struct answer *ret)
{
	_Alignas(struct nlmsghdr) char question[QUESTION_BYTES], buffer[ANSWER_BYTES];
	const struct nlmsghdr *answer;
	int r = netlink_ask(socket->fd, put_question(question, socket, q, flags), buffer,
			    sizeof(buffer), &answer);

	return r ? r : take_answer(answer, ret);
}

/* With an interface and no route an IPv4 lookup invents that the destination is on the link; asked for the
 * route that it found (4.13) it has none, and says -EHOSTUNREACH (inet_rtm_getroute()). That answer is
 * of no use for the interface: of a route with several next hops it tells all. IPv6 invents nothing. */
static int ask_real(struct route_socket *socket, const struct route_question *q, struct answer *ret)
{
	if (q->interface && q->destination.family == AF_INET) {
		struct answer route;
		int r = ask(socket, q, RTM_F_FIB_MATCH, &route);

		if (r)
			return r;
	}
	return ask(socket, q, 0, ret);
}

/* The kernel looks up IPv4 for sources of its own only, and otherwise says -EINVAL, in 6.18 -ENETUNREACH.
 * It has no such check for a transparent socket, and no way to ask on behalf of one. */
static bool refused_source(struct route_socket *socket, const struct route_question *q, int err)
{
	struct route_question local = { .destination = q->source, .mark = q->mark };
	struct answer answer;

	if (q->source.family != AF_INET || (err != -EINVAL && err != -ENETUNREACH))
		return false;
	return ask(socket, &local, 0, &answer) || answer.type != RTN_LOCAL;
}

/* An IPv6 socket with all of @q but the destination, or -errno. */
static int open_asking(const struct route_question *q)
{
	defer_close int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sa;
	int on = 1;

	if (fd < 0 ||
	    (q->mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &q->mark, sizeof(q->mark)) < 0) ||
	    (q->interface &&
	     setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &q->interface, sizeof(q->interface)) < 0))
		return -errno;
	if (q->source.family != AF_UNSPEC) {
		socklen_t len = addr_to_sockaddr(&q->source, &sa);

		if (setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on)) < 0 ||
		    bind(fd, (struct sockaddr *)&sa, len) < 0)
			return -errno;
	}
	return TAKE_FD(fd);
}

/* Of a way that a socket which is bound to the interface has found: with its source, and as the kernel looks
 * it up with an interface and no source, which insists on the interface too. */
static void ask_next_hop6(struct route_socket *socket, struct route_question q, int fd,
			  struct route_answer *ret)
{
	struct answer answer;

	*ret = (struct route_answer){ .interface = q.interface };
	if (!sock_local_addr(fd, &q.source) && !ask(socket, &q, 0, &answer) &&
	    answer.way.interface == q.interface) {
		*ret = answer.way;
		return;
	}
	q.source = (struct addr){ .family = AF_UNSPEC };
	if (!ask(socket, &q, 0, &answer) && answer.way.interface == q.interface)
		*ret = answer.way;
}

/* IPv6 sockets find more than RTM_GETROUTE does (ip6_dst_lookup_tail(), ip6_route_output_flags()): a route
 * for some sources only (`default from 2001:db8::/56`, OpenWrt) is tried with the source that would be
 * chosen, and a socket that is bound to an interface insists on it, a question with a source only
 * prefers it. So one is connected, which sends nothing. @err: the answer if that cannot be done. */
static int ask_again6(struct route_socket *socket, struct route_question *q, int err,
		      struct answer *ret)
{
	defer_close int fd = open_asking(q);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&q->destination, &sa);

	if (fd < 0)
		return err;
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	if (q->interface) {
		ask_next_hop6(socket, *q, fd, &ret->way);
		return 0;
	}
	return sock_local_addr(fd, &q->source) ? err : ask(socket, q, 0, ret);
}

/* A link-local address names its interface. -EINVAL: it names none, or another than was asked for. */
static int settle_scope(const struct addr *addr, int *interface)
{
	int scope = (int)addr->scope;

	if (!needs_scope(addr))
		return 0;
	if (!*interface)
		*interface = scope;
	return *interface && (!scope || scope == *interface) ? 0 : -EINVAL;
}

/* Ready to be sent: without what says nothing. */
static int settle(struct route_question *q)
{
	const sa_family_t family = q->destination.family;

	if (family != AF_INET && family != AF_INET6)
		return -EAFNOSUPPORT;
	if (q->source.family != AF_UNSPEC && q->source.family != family)
		return -EAFNOSUPPORT;
	if (addr_is_unspecified(&q->source))
		q->source = (struct addr){ .family = AF_UNSPEC };
	if (settle_scope(&q->source, &q->interface))
		return -EINVAL;
	return settle_scope(&q->destination, &q->interface);
}

int route_ask(struct route_socket *socket, const struct route_question *question,
	      struct route_answer *ret)
{
	struct route_question q = *question;
	struct answer answer = { 0 };
	int r = settle(&q);

	if (r)
		return r;
	r = ask_real(socket, &q, &answer);
	if (q.destination.family == AF_INET6) {
		if (r || (q.interface && answer.way.interface != q.interface))
			r = ask_again6(socket, &q, r ? r : -ENETUNREACH, &answer);
	} else if (r && refused_source(socket, &q, r)) {
		q.source = (struct addr){ .family = AF_UNSPEC };
		r = ask_real(socket, &q, &answer);
	}
	if (r)
		return r;
	if (!answer.way.interface || (q.interface && answer.way.interface != q.interface))
		return -ENETUNREACH;
	*ret = answer.way;
	return 0;
}
