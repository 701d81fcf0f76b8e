#include "dial/direct.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
#include "net/sock.h"

struct direct_dial {
	struct dial base;
	struct loop_io io; /* owns the socket */
	struct timer timeout;
};

static void direct_cancel(struct dial *dial, bool reset)
{
	struct direct_dial *d = container_of(dial, struct direct_dial, base);

	timer_stop(&d->timeout, &dial->request.loop->timers);
	if (d->io.loop && reset)
		(void)sock_set_reset_on_close(d->io.fd);
	loop_io_close(&d->io);
}

static void on_connected(struct loop_io *io)
{
	struct direct_dial *d = container_of(io, struct direct_dial, io);
	int err = io->have & (EPOLLERR | EPOLLHUP) ? sock_error(io->fd) : 0;

	timer_stop(&d->timeout, &io->loop->timers);
	dial_finish(&d->base, err, "connect", io);
}

static void on_timeout(struct timer *timer)
{
	struct direct_dial *d = container_of(timer, struct direct_dial, timeout);

	dial_finish(&d->base, -ETIMEDOUT, "connect", NULL);
}

/* In the order of the reasons: what decides the route comes first, the mark before the first packet. */
static int set_options(const struct direct_dialer *self, struct dial *dial, int fd)
{
	const struct addr *bind_to = dial->request.target.addr.family == AF_INET ? &self->bind4
										 : &self->bind6;
	int r = 0;

	if (self->bind_interface[0]) {
		dial->call = "setsockopt(SO_BINDTODEVICE) of bind_interface";
		r = sock_bind_interface(fd, self->bind_interface);
	}
	if (!r && self->routing_mark) {
		dial->call = "setsockopt(SO_MARK) of routing_mark";
		r = sock_set_mark(fd, self->routing_mark);
	}
	if (!r && bind_to->family != AF_UNSPEC) {
		dial->call = "bind to the bind address";
		r = sock_bind_address(fd, bind_to);
	}
	if (!r) {
		dial->call = "setsockopt(TCP_NODELAY)";
		r = sock_set_nodelay(fd);
	}
	if (!r) {
		dial->call = "setsockopt(SO_OOBINLINE)";
		r = sock_set_oob_inline(fd);
	}
	return r;
}

static int open_socket(struct dial *dial, int *ret_fd)
{
	const struct direct_dialer *self = container_of(dial->dialer, struct direct_dialer, base);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&dial->request.target.addr, &sa);
	int fd, r;

	dial->call = "socket";
	fd = socket(dial->request.target.addr.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		return -errno;
	r = set_options(self, dial, fd);
	if (!r) {
		dial->call = "connect";
		if (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
			r = -errno;
	}
	if (r) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int direct_start(struct dial *dial)
{
	const struct direct_dialer *self = container_of(dial->dialer, struct direct_dialer, base);
	struct direct_dial *d = container_of(dial, struct direct_dial, base);
	int fd = -1, r = open_socket(dial, &fd);

	if (r)
		return r;
	dial->call = "epoll_ctl";
	r = loop_io_init(&d->io, dial->request.loop, fd, on_connected);
	if (r) {
		close(fd);
		return r;
	}
	loop_io_want(&d->io, EPOLLOUT);
	timer_init(&d->timeout, on_timeout);
	timer_start(&d->timeout, &dial->request.loop->timers, self->connect_timeout_ms);
	return 0;
}

const struct dialer_ops dial_direct_ops = {
	.name = "direct",
	.dial_size = sizeof(struct direct_dial),
	.start = direct_start,
	.cancel = direct_cancel,
};
