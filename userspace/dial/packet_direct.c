#include "dial/packet_direct.h"
#include "dial/direct_udp.h"
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct direct_way {
	struct packet_way base;
	struct loop_io io; /* owns the socket */
	int err;           /* of ICMP, when all is received that came; 0: none */
};

static struct direct_way *of(struct packet_way *way)
{
	return container_of(way, struct direct_way, base);
}

/* What the kernel reports to connected sockets as final (icmp_err_convert[], icmpv6_err_convert()) without
 * IP_RECVERR, or SOCK_DESTROY. Not EMSGSIZE: a smaller path MTU, now known. */
static bool ends(const struct direct_way *w, int err)
{
	return w->base.bound && err != -EMSGSIZE && err != -ENOBUFS && err != -ENOMEM &&
	       err != -EINTR;
}

/* Where to, in the socket's terms, and not from whom it was received; false: there is no way. A connected socket
 * would send elsewhere if it was told to. */
static bool aim(const struct direct_way *w, struct datagram *datagram)
{
	const struct addr *peer = &w->base.peer;

	datagram->source = (struct addr){ .family = AF_UNSPEC };
	if (!w->base.bound) {
		if (datagram->destination.family == AF_UNSPEC)
			datagram->destination = *peer;
		return true;
	}
	if (datagram->destination.family != AF_UNSPEC && !addr_equal(&datagram->destination, peer))
		return false;
	datagram->destination = (struct addr){ .family = AF_UNSPEC };
	return true;
}

/* The loop no longer tells of it: the send took it from the socket. */
static void note(struct direct_way *w, int icmp)
{
	if (!icmp || !ends(w, icmp))
		return;
	w->err = icmp;
	w->io.have |= EPOLLERR;
	loop_io_want(&w->io, w->io.want);
}

static void send_some(struct direct_way *w, const struct datagram *list, unsigned count,
		      struct datagram_sent *total)
{
	struct datagram aimed[DATAGRAM_BATCH];
	struct datagram_sent sent = { 0 };
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		aimed[n] = list[i];
		if (aim(w, &aimed[n])) {
			n++;
			continue;
		}
		total->failed += datagram_count(&list[i]);
		total->err = -EISCONN;
	}
	if (n)
		datagram_send(w->io.fd, aimed, n, &sent);
	total->sent += sent.sent;
	total->failed += sent.failed;
	if (sent.err)
		total->err = sent.err;
	if (sent.icmp)
		total->icmp = sent.icmp;
	note(w, sent.icmp);
}

static void direct_send(struct packet_way *way, const struct datagram *list, unsigned count,
			struct datagram_sent *ret)
{
	*ret = (struct datagram_sent){ 0 };
	while (count) {
		unsigned n = count < DATAGRAM_BATCH ? count : DATAGRAM_BATCH;

		send_some(of(way), list, n, ret);
		list += n;
		count -= n;
	}
}

/* What came before connect() may be from anybody. Returns the first row of datagrams that is the peer's. */
static int only_peer(const struct direct_way *w, const struct datagram **list, int count)
{
	const struct addr *peer = &w->base.peer;
	int first = 0, end;

	if (!w->base.bound || addr_is_unspecified(peer)) /* which stands for loopback */
		return count;
	while (first < count && !addr_equal(&(*list)[first].source, peer))
		first++;
	for (end = first; end < count && addr_equal(&(*list)[end].source, peer);)
		end++;
	*list += first;
	return end - first;
}

/* What has come is given first, then the error. -EAGAIN also with more to come, of which the loop tells. */
static int direct_receive(struct packet_way *way, struct datagram_batch *batch,
			  const struct datagram **ret)
{
	struct direct_way *w = of(way);
	const struct datagram *list;
	int n = datagram_receive(batch, w->io.fd, &list);

	if (n < 0 && n != -EAGAIN) {
		if (ends(w, n))
			w->err = n;
		n = datagram_receive(batch, w->io.fd, &list);
	}
	if (n > 0 && n < DATAGRAM_BATCH) /* the kernel has said EAGAIN to the next */
		loop_io_drained(&w->io, EPOLLIN);
	if (n > 0)
		n = only_peer(w, &list, n);
	if (n > 0) {
		*ret = list;
		return n;
	}
	if (n != -EAGAIN)
		return -EAGAIN;
	loop_io_drained(&w->io, EPOLLIN | EPOLLERR | EPOLLHUP);
	if (!w->err)
		return -EAGAIN;
	way->call = "icmp";
	return w->err;
}

static void direct_close(struct packet_way *way)
{
	struct direct_way *w = of(way);

	loop_io_close(&w->io);
	free(w);
}

static int direct_local(struct packet_way *way, struct addr *ret)
{
	return direct_udp_local(way->fd, &way->peer, ret);
}

static const struct packet_ops direct_ops = {
	.name = "direct",
	.local = direct_local,
	.send = direct_send,
	.receive = direct_receive,
	.close = direct_close,
};

/* Stays ready until there is a listener. */
static void on_io(struct loop_io *io)
{
	struct direct_way *w = container_of(io, struct direct_way, io);

	if (w->base.ready)
		w->base.ready(w->base.owner);
}

int packet_direct_new(struct packet_way **ret, struct loop_io *io, const struct addr *peer,
		      bool bound, bool trains)
{
	struct direct_way *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->base = (struct packet_way){
		.ops = &direct_ops, .peer = *peer, .fd = io->fd, .bound = bound
	};
	r = loop_io_move(&w->io, io, on_io);
	if (r) {
		free(w);
		return r;
	}
	/* A socket with room is told of at every datagram that leaves: not asked for. */
	r = loop_io_mask(&w->io, EPOLLIN);
	if (r) {
		direct_close(&w->base);
		return r;
	}
	datagram_set_queues(w->io.fd);
	if (trains)
		(void)datagram_set_gro(w->io.fd);
	loop_io_want(&w->io, EPOLLIN);
	*ret = &w->base;
	return 0;
}

int packet_direct_reopen(struct packet_way **ret, struct loop *loop,
			 const struct direct_udp_socket *was)
{
	struct loop_io io = LOOP_IO_NULL;
	int fd = direct_udp_reopen(was), r;

	if (fd < 0)
		return fd;
	r = loop_io_init(&io, loop, fd, on_io);
	if (r) {
		close(fd);
		return r;
	}
	r = packet_direct_new(ret, &io, &was->peer, was->connected, true);
	loop_io_close(&io); /* unless the way has it */
	return r;
}
