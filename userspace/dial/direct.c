#include "dial/direct.h"
#include <errno.h>
#include <sys/socket.h>
#include "base/cleanup.h"
#include "dial/direct_udp.h"
#include "dial/match.h"
#include "dial/packet_direct.h"
#include "kern/interfaces.h"
#include "kern/route.h"
#include "net/netns.h"
#include "net/protect.h"
#include "net/sock.h"

#define LOOPBACK_IFINDEX 1 /* in every network namespace, since 3.7 */

struct direct_dial {
	struct dial base;
	int fd;            /* owned until connect(); -1 */
	struct loop_io io; /* owns it after */
	int attempt;       /* for trace_end(); -1: not recorded, or ended */
	bool owes_write;
	struct timer timeout;
	struct protect protect; /* runs before connect() */
};

/* What a socket is bound to: the name counts, if there is one, or the index, or neither. */
struct leave_by {
	const char *name;
	int index;
};

static int refused(int r, const char *call, const char **ret_call)
{
	if (r)
		*ret_call = call;
	return r;
}

/* How every socket of an outbound begins: what decides its route, and its mark before its first packet. */
static int open_socket(const struct direct_options *options, sa_family_t family, int type,
		       const struct leave_by *by, const char **ret_call)
{
	int protocol = type == SOCK_STREAM && options->tcp_multi_path ? IPPROTO_MPTCP : 0;
	defer_close int fd = netns_socket(options->netns, family,
					  type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	int r = 0;

	if (fd < 0)
		return refused(fd, protocol ? "socket(IPPROTO_MPTCP) of tcp_multi_path" : "socket",
			       ret_call);
	if (by->name)
		r = refused(sock_bind_interface(fd, by->name),
			    "setsockopt(SO_BINDTODEVICE) of bind_interface", ret_call);
	else if (by->index)
		r = refused(sock_bind_ifindex(fd, by->index),
			    "setsockopt(SO_BINDTOIFINDEX) of the interface", ret_call);
	if (!r && options->routing_mark)
		r = refused(sock_set_mark(fd, options->routing_mark),
			    "setsockopt(SO_MARK) of routing_mark", ret_call);
	if (!r && type == SOCK_DGRAM && !options->udp_fragment)
		r = refused(sock_set_dont_fragment(fd, family),
			    "setsockopt(IP_MTU_DISCOVER) of udp_fragment", ret_call);
	return r ? r : TAKE_FD(fd);
}

static const struct addr *bind_address(const struct direct_options *options, sa_family_t family)
{
	return family == AF_INET ? &options->bind4 : &options->bind6;
}

static int bind_to_address(const struct direct_options *options, sa_family_t family, int fd,
			   bool no_port, const char **ret_call)
{
	const struct addr *addr = bind_address(options, family);

	if (addr->family == AF_UNSPEC)
		return 0;
	return refused(sock_bind_address(fd, addr, no_port), "bind to the bind address", ret_call);
}

int direct_open(const struct direct_options *options, sa_family_t family, int type,
		const char **ret_call)
{
	const struct leave_by by = {
		.name = options->bind_interface[0] ? options->bind_interface : NULL,
	};
	int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
	bool no_port = kind == SOCK_STREAM && options->bind_address_no_port;
	defer_close int fd = open_socket(options, family, kind, &by, ret_call);
	int r = fd < 0 ? fd : bind_to_address(options, family, fd, no_port, ret_call);

	if (!r && kind == SOCK_DGRAM && options->reuse_addr)
		r = direct_udp_share_port(fd, ret_call);
	return r ? r : TAKE_FD(fd);
}

static int type_of(const struct dial *dial)
{
	return dial->request.type == SOCK_DGRAM ? SOCK_DGRAM : SOCK_STREAM;
}

static const struct direct_dialer *dialer_of(const struct dial *dial)
{
	return container_of(dial->dialer, struct direct_dialer, base);
}

/* The routes are those of our own namespace, and a link-local address names its interface itself. A way
 * that leads to loopback is an address of this host: nothing leaves, and nothing needs to be pinned. */
static int ask_route(struct dial *dial, int *ret_index)
{
	const struct direct_options *options = &dialer_of(dial)->options;
	const struct addr *to = &dial->request.target.addr;
	const struct route_question question = { .destination = *to,
						 .source = *bind_address(options, to->family),
						 .mark = options->routing_mark };
	struct route_answer answer;
	int r;

	if (options->netns || to->scope)
		return 0;
	r = route_ask(dial->request.env->routes, &question, &answer);
	if (r)
		return refused(r, "route of auto_detect_interface", &dial->call);
	if (answer.interface != LOOPBACK_IFINDEX)
		*ret_index = answer.interface;
	return 0;
}

static int choose_interface(struct dial *dial, struct leave_by *ret_by)
{
	const struct direct_options *options = &dialer_of(dial)->options;

	if (addr_is_loopback(&dial->request.target.addr))
		return 0;
	if (options->bind_interface[0])
		ret_by->name = options->bind_interface;
	else if (dial->request.interface && !dial->request.unbound)
		ret_by->index = dial->request.interface->index;
	else if (options->auto_detect_interface)
		return ask_route(dial, &ret_by->index);
	return 0;
}

/* @buf of IFNAMSIZ bytes. */
static const char *name_of(const struct dial *dial, const struct leave_by *by, char *buf)
{
	const struct netif *netif = dial->request.interface;

	if (by->name)
		return by->name;
	if (!by->index && !(netif && dial->request.unbound))
		return NULL;
	if (!netif && dial->request.env->interfaces)
		netif = netif_by_index(dial->request.env->interfaces, by->index);
	return netif ? netif->name : if_indextoname((unsigned)by->index, buf);
}

static void record(struct direct_dial *d, const struct leave_by *by)
{
	const struct dial_request *request = &d->base.request;
	char buf[IFNAMSIZ];

	d->attempt = -1;
	if (request->trace)
		d->attempt = trace_begin(request->trace, TRACE_CONNECT, &request->target.addr,
					 name_of(&d->base, by, buf), request->env->loop->now_ms);
}

static void record_end(struct direct_dial *d, int err)
{
	const struct dial_request *request = &d->base.request;

	if (d->attempt >= 0)
		trace_end(request->trace, d->attempt, err,
			  err && err != -ECANCELED ? d->base.call : NULL,
			  request->env->loop->now_ms);
	d->attempt = -1;
}

/* As the client: its port only if that is wanted, and then beside the other flows that have it. */
static int bind_to_client(struct dial *dial, int fd, bool with_port)
{
	struct addr source = dial->request.source;
	int r;

	if (source.family != dial->request.target.addr.family)
		return refused(-EAFNOSUPPORT, "transparent_source of another family", &dial->call);
	r = refused(sock_set_transparent(fd, source.family),
		    "setsockopt(IP_TRANSPARENT) of transparent_source", &dial->call);
	if (!r && with_port)
		r = refused(sock_set_reuse(fd), "setsockopt(SO_REUSEADDR) of transparent_source",
			    &dial->call);
	if (!with_port)
		source.port = 0;
	if (!r)
		r = refused(
			sock_bind_address(fd, &source, !with_port && type_of(dial) == SOCK_STREAM),
			"bind to the client's address", &dial->call);
	return r;
}

static int bind_source(struct direct_dial *d)
{
	struct dial *dial = &d->base;
	const struct direct_options *options = &dialer_of(dial)->options;

	if (options->transparent_source != SOURCE_OFF && dial->request.source.family != AF_UNSPEC)
		return bind_to_client(dial, d->fd,
				      options->transparent_source == SOURCE_ADDRESS_PORT);
	return bind_to_address(options, dial->request.target.addr.family, d->fd,
			       type_of(dial) == SOCK_STREAM && options->bind_address_no_port,
			       &dial->call);
}

static int set_tcp(struct dial *dial, const struct direct_options *options, int fd)
{
	int r = 0;

	if (options->tcp_fast_open)
		r = refused(sock_set_fast_open_connect(fd),
			    "setsockopt(TCP_FASTOPEN_CONNECT) of tcp_fast_open, see "
			    "net.ipv4.tcp_fastopen",
			    &dial->call);
	if (!r)
		r = refused(sock_set_nodelay(fd), "setsockopt(TCP_NODELAY)", &dial->call);
	/* MPTCP has no urgent data and refuses this one option (6.18): nothing is lost. */
	if (!r && !options->tcp_multi_path)
		r = refused(sock_set_oob_inline(fd), "setsockopt(SO_OOBINLINE)", &dial->call);
	return r;
}

static int connect_stream(struct direct_dial *d)
{
	struct dial *dial = &d->base;
	const struct direct_options *options = &dialer_of(dial)->options;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&dial->request.target.addr, &sa);
	int r = set_tcp(dial, options, d->fd);

	if (r)
		return r;
	if (!options->netns && !options->tcp_multi_path)
		match_syn(&dial->request, d->fd);
	if (!connect(d->fd, (struct sockaddr *)&sa, len))
		d->owes_write = options->tcp_fast_open; /* with EINPROGRESS no cookie was known */
	else if (errno != EINPROGRESS)
		return refused(-errno, "connect", &dial->call);
	return 0;
}

/* What goes to loopback is bound to no interface, and must not go elsewhere then: it has one peer. */
static bool has_one_peer(const struct dial *dial)
{
	return dial->request.one_peer || addr_is_loopback(&dial->request.target.addr);
}

static int aim_datagrams(struct direct_dial *d)
{
	struct dial *dial = &d->base;
	const struct direct_options *options = &dialer_of(dial)->options;
	const struct addr *to = &dial->request.target.addr;
	int r;

	if (has_one_peer(dial))
		r = direct_udp_connect(d->fd, to);
	else
		r = direct_udp_route(d->fd, options->netns, to);
	if (r)
		return refused(r, "connect", &dial->call);
	return options->reuse_addr ? direct_udp_share_port(d->fd, &dial->call) : 0;
}

static void on_connected(struct loop_io *io);

/* Into the loop after connect(): before, epoll reports a stream as hung up. A datagram socket is there to be
 * written to at once, and is told of in the next turn. */
static int connect_now(struct direct_dial *d)
{
	struct dial *dial = &d->base;
	int r = bind_source(d);

	if (!r)
		r = type_of(dial) == SOCK_DGRAM ? aim_datagrams(d) : connect_stream(d);
	if (!r)
		r = refused(loop_io_init(&d->io, dial->request.env->loop, d->fd, on_connected),
			    "epoll_ctl", &dial->call);
	if (r)
		return r;
	d->fd = -1;
	dial->call = "connect"; /* whatever comes now */
	loop_io_want(&d->io, EPOLLOUT);
	return 0;
}

static void drop(struct direct_dial *d, bool reset)
{
	timer_stop(&d->timeout, &d->base.request.env->loop->timers);
	protect_cancel(&d->protect);
	if (d->io.loop && reset)
		(void)sock_set_reset_on_close(d->io.fd);
	loop_io_close(&d->io);
	if (d->fd >= 0)
		close(TAKE_FD(d->fd));
}

/* The owner may take the trace down in its callback. */
static void finish(struct direct_dial *d, int err)
{
	struct dial *dial = &d->base;
	bool udp = type_of(dial) == SOCK_DGRAM;
	struct dial_result result = { 0 };

	timer_stop(&d->timeout, &dial->request.env->loop->timers);
	if (!err && udp)
		err = refused(packet_direct_new(&result.packet, &d->io, &dial->request.target.addr,
						has_one_peer(dial), !dial->request.no_trains),
			      "epoll_ctl", &dial->call);
	record_end(d, err);
	result.err = err;
	result.call = err ? dial->call : NULL;
	result.io = err || udp ? NULL : &d->io;
	result.peer = dial->request.target.addr;
	result.owes_write = !err && d->owes_write;
	dial_finish(dial, &result);
}

/* An error of a datagram socket is the way's, which tells of it when it is read. */
static void on_connected(struct loop_io *io)
{
	struct direct_dial *d = container_of(io, struct direct_dial, io);
	bool failed = type_of(&d->base) == SOCK_STREAM && io->have & (EPOLLERR | EPOLLHUP);

	finish(d, failed ? sock_error(io->fd) : 0);
}

static void on_protected(struct protect *protect, int err)
{
	struct direct_dial *d = container_of(protect, struct direct_dial, protect);
	int r = err ? err : connect_now(d);

	if (r)
		finish(d, r);
}

static void on_timeout(struct timer *timer)
{
	finish(container_of(timer, struct direct_dial, timeout), -ETIMEDOUT);
}

static int begin(struct direct_dial *d, const struct leave_by *by)
{
	struct dial *dial = &d->base;
	const struct direct_options *options = &dialer_of(dial)->options;
	int fd = open_socket(options, dial->request.target.addr.family, type_of(dial), by,
			     &dial->call);

	if (fd < 0)
		return fd;
	d->fd = fd;
	if (!options->protect_path)
		return connect_now(d);
	dial->call = "protect_path";
	return protect_start(&d->protect, dial->request.env->loop, options->protect_path, fd,
			     on_protected);
}

static int direct_start(struct dial *dial)
{
	struct direct_dial *d = container_of(dial, struct direct_dial, base);
	struct leave_by by = { 0 };
	int r;

	d->fd = -1;
	timer_init(&d->timeout, on_timeout);
	r = choose_interface(dial, &by);
	record(d, &by);
	if (!r)
		r = begin(d, &by);
	if (r) {
		record_end(d, r);
		drop(d, false);
		return r;
	}
	timer_start(&d->timeout, &dial->request.env->loop->timers,
		    dialer_of(dial)->connect_timeout_ms);
	return 0;
}

static void direct_cancel(struct dial *dial, bool reset)
{
	struct direct_dial *d = container_of(dial, struct direct_dial, base);

	record_end(d, -ECANCELED);
	drop(d, reset);
}

static void direct_free(struct dialer *self)
{
	struct direct_dialer *direct = container_of(self, struct direct_dialer, base);

	free(direct->options.protect_path);
	free(direct);
}

const struct dialer_ops dial_direct_ops = {
	.name = "direct",
	.dial_size = sizeof(struct direct_dial),
	.start = direct_start,
	.cancel = direct_cancel,
	.free = direct_free,
};
