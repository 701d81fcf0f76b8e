#include "flow/listener.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/log.h"
#include "flow/worker.h"
#include "net/sock.h"
#include "net/tproxy.h"

#define ACCEPT_BUDGET 64 /* connections a turn: the flows that are there come first */
#define RETRY_MS      100

static void pause_accepting(struct listener *l, const char *why)
{
	static _Thread_local struct log_limit limit;

	l->worker->stats.accept_pauses++;
	if (log_allow(&limit))
		log_warn("listener", "%s: accepting pauses until flows end: %s", l->inbound->tag,
			 why);
	loop_io_want(&l->io, 0);
	timer_start(&l->retry, &l->io.loop->timers, RETRY_MS);
}

void listener_resume(struct listener *l)
{
	if (!l->io.loop || !timer_running(&l->retry))
		return;
	timer_stop(&l->retry, &l->io.loop->timers);
	loop_io_want(&l->io, EPOLLIN);
}

static void on_retry(struct timer *timer)
{
	struct listener *l = container_of(timer, struct listener, retry);

	loop_io_want(&l->io, EPOLLIN);
}

enum flow_end listener_refuses(const struct worker *w, const struct addr *source,
			       const struct addr *destination)
{
	if (addr_is_unspecified(source) || addr_is_multicast(source) ||
	    addr_is_unspecified(destination) || addr_is_multicast(destination) ||
	    !destination->port)
		return END_BAD_ADDRESS;
	/* Reached directly instead of by TPROXY, a listener would dial itself, and that again */
	if (worker_listens_on(w, destination) && sock_addr_is_local(destination))
		return END_LOOP;
	return END_NONE;
}

/* 0, or -errno of accept4() */
static int accept_one(struct listener *l)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addr source, destination;
	int fd = accept4(l->io.fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (addr_from_sockaddr((struct sockaddr *)&sa, &source) ||
	    sock_local_addr(fd, &destination)) {
		close(fd);
		return 0;
	}
	l->worker->stats.accepted++;
	tcp_flow_start(l->worker, l->inbound, fd, &source, &destination);
	return 0;
}

static void on_connections(struct loop_io *io)
{
	struct listener *l = container_of(io, struct listener, io);

	for (int i = 0; i < ACCEPT_BUDGET; i++) {
		int r;

		if (worker_is_full(l->worker)) {
			pause_accepting(l, "limits.max_flows is reached");
			return;
		}
		r = accept_one(l);
		switch (r) {
		case 0:
		case -ECONNABORTED:
		case -EINTR:
			break;
		case -EAGAIN:
			loop_io_drained(io, EPOLLIN);
			return;
		default: /* EMFILE, ENFILE, ENOBUFS, ENOMEM: out of something that flows give back */
			pause_accepting(l, strerror(-r));
			return;
		}
	}
}

int listener_init(struct listener *l, struct worker *worker, const struct inbound *inbound,
		  const char **ret_call)
{
	int fd, r = tproxy_listen(&inbound->listen, &fd, ret_call);

	*l = (struct listener){ .worker = worker, .inbound = inbound, .io = LOOP_IO_NULL };
	timer_init(&l->retry, on_retry);
	if (r)
		return r;
	*ret_call = "setsockopt(TCP_MAXSEG) of mss";
	r = inbound->mss ? sock_set_mss(fd, inbound->mss) : 0;
	if (r) {
		close(fd);
		return r;
	}
	*ret_call = "epoll_ctl";
	r = loop_io_init(&l->io, &worker->loop, fd, on_connections);
	if (r) {
		close(fd);
		return r;
	}
	loop_io_want(&l->io, EPOLLIN);
	return 0;
}

void listener_set_mss(struct listener *l, uint32_t mss)
{
	int r;

	if (!l->io.loop || l->inbound->mss || l->mss == mss)
		return;
	r = sock_set_mss(l->io.fd, mss);
	if (r)
		log_warn("listener", "%s: setsockopt(TCP_MAXSEG) to %u: %s", l->inbound->tag, mss,
			 strerror(-r));
	else
		l->mss = mss;
}

void listener_deinit(struct listener *l)
{
	if (!l->io.loop)
		return;
	timer_stop(&l->retry, &l->io.loop->timers);
	loop_io_close(&l->io);
}
