#include "dial/packet_socks5.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "net/addr.h"
#include "proto/socks5_datagram.h"

#define HEADS_MAX \
	4096 /* bytes of headers in one call of the way below: those of proxies in proxies */

struct socks5_way {
	struct packet_way base;
	struct packet_way *below; /* owned */
	struct loop_io control;   /* gone when it has ended */
	int err;                  /* why it has; 0: it has not */
	struct datagram *list;    /* DATAGRAM_BATCH of them, while something is received; owned */
	bool named;               /* the target is a name, and its address never known */
	size_t head_len;          /* of what goes to the target */
	uint8_t head[SOCKS5_DATAGRAM_HEAD_MAX];
};

/* What goes to the way below with the next call. */
struct outgoing {
	struct packet_way *below;
	struct datagram_sent *sent;
	struct datagram list[DATAGRAM_BATCH];
	unsigned count;
	size_t heads_len;
	uint8_t heads[HEADS_MAX];
};

static struct socks5_way *way_of(struct packet_way *way)
{
	return container_of(way, struct socks5_way, base);
}

static void lose(struct datagram_sent *sent, unsigned count, int err)
{
	sent->failed += count;
	sent->err = err;
}

static void flush(struct outgoing *out)
{
	struct datagram_sent sent;

	if (!out->count)
		return;
	packet_send(out->below, out->list, out->count, &sent);
	out->sent->sent += sent.sent;
	if (sent.icmp)
		out->sent->icmp = sent.icmp;
	if (sent.failed)
		lose(out->sent, sent.failed, sent.err);
	out->count = 0;
	out->heads_len = 0;
}

/* @head and what @datagram has already, which is of a proxy behind ours. */
static void add(struct outgoing *out, const uint8_t *head, size_t head_len,
		const struct datagram *datagram)
{
	size_t len = head_len + datagram->head_len;
	uint8_t *at;

	if (len > sizeof(out->heads)) {
		lose(out->sent, 1, -ENAMETOOLONG);
		return;
	}
	if (out->count == DATAGRAM_BATCH || len > sizeof(out->heads) - out->heads_len)
		flush(out);
	at = out->heads + out->heads_len;
	memcpy(at, head, head_len);
	if (datagram->head_len)
		memcpy(at + head_len, datagram->head, datagram->head_len);
	out->heads_len += len;
	out->list[out->count++] = (struct datagram){
		.data = datagram->data, .len = datagram->len, .head = at, .head_len = len
	};
}

/* A train as single datagrams: each has a header of its own. */
static void add_all(struct outgoing *out, const uint8_t *head, size_t head_len,
		    const struct datagram *datagram)
{
	struct datagram one = *datagram;
	unsigned count = datagram_count(datagram);

	for (unsigned i = 0; count > 1 && i < count; i++) {
		size_t at = (size_t)i * datagram->segment, left = datagram->len - at;

		one.data = datagram->data + at;
		one.len = left < datagram->segment ? left : datagram->segment;
		add(out, head, head_len, &one);
	}
	if (count <= 1)
		add(out, head, head_len, &one);
}

static void socks5_send(struct packet_way *way, const struct datagram *list, unsigned count,
			struct datagram_sent *ret)
{
	const struct socks5_way *w = way_of(way);
	struct outgoing out;

	out.below = w->below;
	out.sent = ret;
	out.count = 0;
	out.heads_len = 0;
	*ret = (struct datagram_sent){ 0 };
	for (unsigned i = 0; i < count; i++) {
		const struct addr *to = &list[i].destination;
		uint8_t head[SOCKS5_DATAGRAM_HEAD_MAX];

		if (to->family == AF_UNSPEC || addr_equal(to, &way->peer))
			add_all(&out, w->head, w->head_len, &list[i]);
		else if (way->bound)
			lose(ret, datagram_count(&list[i]), -EISCONN);
		else
			add_all(&out, head, socks5_wrap(head, to, NULL), &list[i]);
	}
	flush(&out);
}

/* False: not for us. */
static bool unwrap(const struct socks5_way *w, const struct datagram *from, struct datagram *ret)
{
	struct addr source;
	int n;

	assert(datagram_count(from) == 1); /* the request said so */
	n = socks5_unwrap(from->data, from->len, &source);
	if (n < 0)
		return false;
	if (w->base.bound && source.family != AF_UNSPEC) {
		if (!w->named && !addr_equal(&source, &w->base.peer))
			return false;
		source = w->base.peer;
	}
	*ret = *from;
	ret->source = source;
	ret->data += n;
	ret->len -= (size_t)n;
	return true;
}

/* Also when all of a batch was not for us it is enough for one turn. */
static int socks5_receive(struct packet_way *way, struct datagram_batch *batch,
			  const struct datagram **ret)
{
	struct socks5_way *w = way_of(way);
	const struct datagram *list = NULL;
	int n, count = 0;

	if (w->err)
		return w->err;
	way->call = "malloc";
	if (!w->list)
		w->list = malloc(DATAGRAM_BATCH * sizeof(*w->list));
	if (!w->list)
		return -ENOMEM;
	n = packet_receive(w->below, batch, &list);
	assert(n <= DATAGRAM_BATCH);
	for (int i = 0; i < n; i++) {
		if (unwrap(w, &list[i], &w->list[count]))
			count++;
		else
			way->dropped++;
	}
	*ret = w->list;
	if (count)
		return count;
	free(TAKE_PTR(w->list));
	way->call = w->below->call;
	return n < 0 ? n : -EAGAIN;
}

static void socks5_close(struct packet_way *way)
{
	struct socks5_way *w = way_of(way);

	packet_close(w->below);
	loop_io_close(&w->control);
	free(w->list);
	free(w);
}

static const struct packet_ops socks5_ops = {
	.name = "socks5", .send = socks5_send, .receive = socks5_receive, .close = socks5_close
};

int packet_socks5_control(struct loop_io *control, const char **ret_call)
{
	uint8_t byte;
	ssize_t n = recv(control->fd, &byte, 1, 0);

	if (n < 0 && errno == EAGAIN) {
		loop_io_drained(control, EPOLLIN | EPOLLRDHUP);
		return 0;
	}
	*ret_call = n > 0 ? "socks5: the proxy speaks after its reply" : "the proxy hung up";
	return n > 0 ? -EPROTO : n ? -errno : -ECONNRESET;
}

static void tell(struct socks5_way *w) /* @w may be gone on return */
{
	if (w->base.ready)
		w->base.ready(w->base.owner);
}

static void on_below(void *owner)
{
	tell(owner);
}

/* Its end waits until somebody listens. */
static void on_control(struct loop_io *io)
{
	struct socks5_way *w = container_of(io, struct socks5_way, control);

	if (!w->base.ready)
		return;
	w->err = packet_socks5_control(io, &w->base.call);
	if (!w->err)
		return;
	loop_io_close(io);
	tell(w);
}

int packet_socks5_new(struct packet_way **ret, struct loop_io *control, struct packet_way *below,
		      const struct dial_request *request, const char **ret_call)
{
	const struct target *target = &request->target;
	struct socks5_way *w = calloc(1, sizeof(*w));
	int r;

	*ret_call = "malloc";
	if (!w)
		return -ENOMEM;
	*ret_call = "epoll_ctl";
	r = loop_io_move(&w->control, control, on_control);
	if (r) {
		free(w);
		return r;
	}
	w->base.ops = &socks5_ops;
	w->base.fd = -1;
	w->base.bound = request->one_peer;
	w->named = target->domain;
	if (!target->domain)
		w->base.peer = target->addr;
	w->head_len = socks5_wrap(w->head, &target->addr, target->domain);
	w->below = below;
	packet_listen(below, on_below, w);
	loop_io_want(&w->control, EPOLLIN | EPOLLRDHUP);
	*ret = &w->base;
	return 0;
}
