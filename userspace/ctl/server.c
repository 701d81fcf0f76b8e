#include "ctl/server.h"
#include "base/log.h"
#include "ctl/client.h"
#include "ctl/endpoint.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define RETRY_MS 1000

struct ctl_server {
	struct ctl_context context;
	struct endpoint endpoint;
	struct loop_io io;  /* of the endpoint's socket */
	struct timer retry; /* runs while there are no descriptors to accept with */
	struct client_set set;
};

static void on_retry(struct timer *timer)
{
	loop_io_want(&container_of(timer, struct ctl_server, retry)->io, EPOLLIN);
}

static void on_connection(struct loop_io *io)
{
	struct ctl_server *server = container_of(io, struct ctl_server, io);
	static struct log_limit limit;
	int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0) {
		(void)client_new(&server->set, fd);
	} else if (errno == EAGAIN) {
		loop_io_drained(io, EPOLLIN);
	} else if (errno != ECONNABORTED && errno != EINTR) {
		if (log_allow(&limit))
			log_warn("ctl", "accept: %s", strerror(errno));
		loop_io_want(io, 0);
		timer_start(&server->retry, &io->loop->timers, RETRY_MS);
	}
}

static int start(struct ctl_server *server, const char *path, char *reason)
{
	int r = watch_new(&server->set.watch, &server->context);

	if (r) {
		snprintf(reason, ENDPOINT_REASON_MAX, "out of memory");
		return r;
	}
	r = endpoint_open(&server->endpoint, path, reason);
	if (r)
		return r;
	r = loop_io_init(&server->io, server->context.loop, server->endpoint.fd, on_connection);
	if (r) {
		snprintf(reason, ENDPOINT_REASON_MAX, "epoll_ctl: %s", strerror(-r));
		return r;
	}
	loop_io_want(&server->io, EPOLLIN);
	return 0;
}

int ctl_server_new(struct ctl_server **ret, const char *path, const struct ctl_context *context,
		   char *reason)
{
	struct ctl_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server) {
		snprintf(reason, ENDPOINT_REASON_MAX, "out of memory");
		return -ENOMEM;
	}
	server->context = *context;
	server->endpoint = (struct endpoint)ENDPOINT_NULL;
	server->io = (struct loop_io)LOOP_IO_NULL;
	server->set.context = &server->context;
	list_init(&server->set.clients);
	timer_init(&server->retry, on_retry);
	r = start(server, path, reason);
	if (r) {
		ctl_server_free(server);
		return r;
	}
	*ret = server;
	return 0;
}

void ctl_server_free(struct ctl_server *server)
{
	if (!server)
		return;
	if (server->set.watch)
		watch_free(server->set.watch);
	client_free_all(&server->set);
	timer_stop(&server->retry, &server->context.loop->timers);
	loop_io_deinit(&server->io);
	endpoint_close(&server->endpoint);
	free(server);
}

bool server_packet_takes(const struct ctl_context *context)
{
	return context->packet_takes && !packet_is_detached(context->packet);
}

const char *server_packet_reason(const struct ctl_context *context)
{
	if (context->packet_takes && packet_is_detached(context->packet))
		return "removed by hand, until the daemon is started again";
	return context->packet_reason ? context->packet_reason : "";
}
