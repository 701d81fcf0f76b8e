#include "dns/io.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
#include "dns/cares.h"

/* 1.18 reads as long as there is something: a server that floods would hold the loop. */
#define READS_A_TURN   64

#define HEAD_SIZE      12 /* of a message (RFC 1035 4.1.1) */
#define RCODE_AT       3
#define RCODE_SERVFAIL 2
#define RCODE_NOTIMP   4
#define RCODE_REFUSED  5

struct socket {
	struct list link;
	struct loop_io io;
	struct dns_io *owner;
};

static struct socket *find(const struct dns_io *io, int fd)
{
	list_for_each (pos, &io->sockets) {
		struct socket *s = container_of(pos, struct socket, link);

		if (s->io.fd == fd)
			return s;
	}
	return NULL;
}

static void tell_drained(const struct dns_io *io, int fd, uint32_t events)
{
	struct socket *s = find(io, fd);

	if (s)
		loop_io_drained(&s->io, events);
}

/* An error stays in the events until it is taken out, but it is read from the socket only once. */
static void on_socket(struct loop_io *loop_io)
{
	struct socket *s = container_of(loop_io, struct socket, io);
	const uint32_t broken = EPOLLERR | EPOLLHUP;
	uint32_t events = loop_io->want & loop_io->have;
	int fd = loop_io->fd;

	loop_io_drained(loop_io, broken);
	s->owner->on_ready(s->owner->ctx, events & (EPOLLIN | broken) ? fd : -1,
			   events & (EPOLLOUT | broken) ? fd : -1);
}

static int open_socket(struct dns_io *io, int family, int type)
{
	const struct dns_channel_options *options = io->options;
	struct socket *s = calloc(1, sizeof(*s));
	int fd, r;

	if (!s)
		return -ENOMEM;
	fd = options->open(options->open_ctx, options->server, (sa_family_t)family, type);
	if (fd < 0) {
		free(s);
		return fd;
	}
	r = loop_io_init(&s->io, options->loop, fd, on_socket);
	if (r < 0) {
		close(fd);
		free(s);
		return r;
	}
	s->owner = io;
	list_append(&io->sockets, &s->link);
	return fd;
}

static ares_socket_t on_open(int family, int type, int protocol, void *ctx)
{
	int fd = open_socket(ctx, family, type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC));

	if (fd >= 0)
		return fd;
	errno = -fd;
	return ARES_SOCKET_BAD;
}

static int on_close(ares_socket_t fd, void *ctx)
{
	struct socket *s = find(ctx, fd);

	if (!s)
		return 0;
	list_unlink(&s->link);
	loop_io_close(&s->io);
	free(s);
	return 0;
}

static int on_connect(ares_socket_t fd, const struct sockaddr *sa, ares_socklen_t length, void *ctx)
{
	const struct dns_channel_options *options = ((struct dns_io *)ctx)->options;
	struct sockaddr_storage server;

	if (options->type == DNS_SERVER_LOCAL)
		return connect(fd, sa, length);
	/* c-ares would forget the interface of a link-local address */
	length = addr_to_sockaddr(&options->addr, &server);
	return connect(fd, (struct sockaddr *)&server, length);
}

/* What a message says with which c-ares asks the next server. */
static int refusal_of(const uint8_t *message, ssize_t size)
{
	switch (size < HEAD_SIZE ? 0 : message[RCODE_AT] & 15) {
	case RCODE_SERVFAIL:
		return ARES_ESERVFAIL;
	case RCODE_NOTIMP:
		return ARES_ENOTIMP;
	case RCODE_REFUSED:
		return ARES_EREFUSED;
	default:
		return 0;
	}
}

/* NOLINTNEXTLINE(readability-function-size): c-ares' parameters */
static ares_ssize_t on_receive(ares_socket_t fd, void *buf, size_t size, int flags,
			       struct sockaddr *from, ares_socklen_t *from_length, void *ctx)
{
	struct dns_io *io = ctx;
	ssize_t n;

	if (!io->reads_left) {
		errno = EAGAIN; /* still ready: the loop comes back */
		return -1;
	}
	io->reads_left--;
	n = recvfrom(fd, buf, size, flags, from, from_length);
	io->refusal = from ? refusal_of(buf, n) : 0; /* of TCP it asks for none */
	if (n < 0 && errno == EAGAIN)
		tell_drained(io, fd, EPOLLIN);
	return n;
}

static ares_ssize_t on_send(ares_socket_t fd, const struct iovec *parts, int count, void *ctx)
{
	const struct msghdr message = { .msg_iov = (struct iovec *)parts,
					.msg_iovlen = (size_t)count };
	ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);

	if (n < 0 && errno == EAGAIN)
		tell_drained(ctx, fd, EPOLLOUT);
	return n;
}

void dns_io_init(struct dns_io *io, const struct dns_channel_options *options,
		 void (*on_ready)(void *ctx, int readable, int writable), void *ctx)
{
	*io = (struct dns_io){ .options = options, .on_ready = on_ready, .ctx = ctx };
	list_init(&io->sockets);
}

void dns_io_attach(struct dns_io *io, struct ares_channeldata *ares)
{
	static const struct ares_socket_functions functions = { .asocket = on_open,
								.aclose = on_close,
								.aconnect = on_connect,
								.arecvfrom = on_receive,
								.asendv = on_send };

	ares_set_socket_functions(ares, &functions, io);
}

bool dns_io_idle(const struct dns_io *io)
{
	return list_empty(&io->sockets);
}

void dns_io_turn(struct dns_io *io)
{
	io->reads_left = READS_A_TURN;
	io->refusal = 0;
}

void dns_io_on_state(void *data, int fd, int readable, int writable)
{
	struct socket *s = find(data, fd);

	if (s)
		loop_io_want(&s->io, (readable ? EPOLLIN : 0U) | (writable ? EPOLLOUT : 0U));
}
