#include "flow/udp_listener.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "flow/worker.h"
#include "net/tproxy.h"

/* One batch a turn: it stays ready while there is more. */
static void on_datagrams(struct loop_io *io)
{
	struct udp_listener *l = container_of(io, struct udp_listener, io);
	const struct datagram *list;
	int n = datagram_receive(l->worker->udp.batch, io->fd, &list);

	if (n == -EAGAIN || (n >= 0 && n < DATAGRAM_BATCH)) /* what comes now is a new edge */
		loop_io_drained(io, EPOLLIN);
	if (n > 0)
		udp_take(l->worker, l->inbound, list, (unsigned)n);
}

int udp_listener_init(struct udp_listener *l, struct worker *worker, const struct inbound *inbound,
		      char *reason)
{
	char where[ADDR_STRLEN];
	const char *call;
	int fd, r = tproxy_listen_udp(&inbound->listen, &fd, &call);

	*l = (struct udp_listener){ .worker = worker, .inbound = inbound, .io = LOOP_IO_NULL };
	if (!r) {
		call = "epoll_ctl";
		r = loop_io_init(&l->io, &worker->loop, fd, on_datagrams);
		if (r)
			close(fd);
	}
	if (r) {
		snprintf(reason, 256, "inbound %s: UDP: %s on %s: %s%s", inbound->tag, call,
			 addr_format(&inbound->listen, where), strerror(-r),
			 r == -EPERM ? "; it takes CAP_NET_ADMIN" : "");
		return r;
	}
	loop_io_want(&l->io, EPOLLIN);
	return 0;
}

void udp_listener_deinit(struct udp_listener *l)
{
	if (l->io.loop)
		loop_io_close(&l->io);
}
