/* The server's end of the benchmark's traffic: see enum mode for what it does with a connection. */
#define _GNU_SOURCE
#include "load.h"
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn {
	int fd;
	enum mode mode;
};

static struct {
	uint64_t direct, relayed; /* connections by the address they came from */
	uint64_t received, sent, errors;
	struct in_addr client;
} seen;

static void conn_close(struct conn *c)
{
	close(c->fd);
	free(c);
}

static void server_accept(int listener)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	int fd;

	while ((fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_NONBLOCK)) >= 0) {
		struct conn *c = calloc(1, sizeof(*c));

		if (!c)
			die("out of memory");
		if (from.sin_addr.s_addr == seen.client.s_addr)
			seen.direct++;
		else
			seen.relayed++;
		c->fd = fd;
		no_delay(fd);
		watch(EPOLL_CTL_ADD, fd, EPOLLIN, c);
		len = sizeof(from);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		die("accept: %s", strerror(errno));
}

/* A message fits the send buffer many times, and the client awaits its echo: no short sends. */
static int conn_read(struct conn *c)
{
	ssize_t n = recv(c->fd, chunk, sizeof(chunk), 0);

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return 1;
	if (c->mode == MODE_NONE) {
		c->mode = chunk[0];
		if (c->mode == MODE_SOURCE)
			watch(EPOLL_CTL_MOD, c->fd, EPOLLIN | EPOLLOUT, c);
	}
	seen.received += n;
	if (c->mode == MODE_ECHO && send(c->fd, chunk, n, MSG_NOSIGNAL) != n)
		return -EPIPE;
	return 0;
}

static int conn_write(struct conn *c)
{
	ssize_t n = send(c->fd, chunk, sizeof(chunk), MSG_NOSIGNAL);

	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	seen.sent += n;
	return 0;
}

static void conn_event(struct conn *c, uint32_t events)
{
	int r = 0;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		r = conn_read(c);
	if (!r && (events & EPOLLOUT))
		r = conn_write(c);
	if (r < 0)
		seen.errors++;
	if (r)
		conn_close(c);
}

static int server_listen(const char *port)
{
	struct sockaddr_in any = address("0.0.0.0", port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 4096) < 0)
		die("listen on %s: %s", port, strerror(errno));
	return fd;
}

int serve(const char *port, const char *client)
{
	struct epoll_event events[EVENTS];
	int listener = server_listen(port);

	seen.client = address(client, port).sin_addr;
	watch(EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
	printf("{\"listening\": %s}\n", port);
	fflush(stdout);
	while (!stopped) {
		int n = epoll_wait(epoll_fd, events, EVENTS, 100);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				conn_event(events[i].data.ptr, events[i].events);
			else
				server_accept(listener);
		}
	}
	printf("{\"direct\": %" PRIu64 ", \"relayed\": %" PRIu64 ", \"received\": %" PRIu64
	       ", \"sent\": %" PRIu64 ", \"errors\": %" PRIu64 "}\n",
	       seen.direct, seen.relayed, seen.received, seen.sent, seen.errors);
	return 0;
}
