#include "dial/packet_stream.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "base/cleanup.h"
#include "proto/frames.h"

#define PIECES 3 /* of a frame: its length, a proxy's header, the datagram */

/* What has come and was not received yet; only while there is some. */
struct incoming {
	struct datagram list[DATAGRAM_BATCH];
	struct frames frames;
};

struct stream_way {
	struct packet_way base;
	struct loop_io io;
	struct dial_owed *owed; /* NULL: all is paid and answered */
	bool paid, answered;    /* its header is sent, or in @rest; its answer is heard */
	uint8_t *rest;          /* of a frame that has begun; owned; NULL: none */
	size_t rest_len, rest_at;
	struct incoming *in; /* owned */
	int err;             /* nothing more can be sent; 0 */
};

/* One write: what is owed, if that is still to be sent, and frames. */
struct outgoing {
	struct stream_way *way;
	struct datagram_sent *sent;
	unsigned count;
	uint8_t heads[DATAGRAM_BATCH][FRAME_HEAD];
	struct iovec iov[1 + DATAGRAM_BATCH * PIECES]; /* the first is of what is owed */
};

static struct stream_way *way_of(struct packet_way *way)
{
	return container_of(way, struct stream_way, base);
}

static void lose(struct datagram_sent *sent, unsigned count, int err)
{
	sent->failed += count;
	sent->err = err;
}

static void forget_owed(struct stream_way *w)
{
	if (w->paid && w->answered)
		dial_owed_free(TAKE_PTR(w->owed));
}

/* Sending */

static void drop_rest(struct stream_way *w)
{
	free(TAKE_PTR(w->rest));
	w->rest_len = w->rest_at = 0;
}

/* 0: nothing is left over from before; -EAGAIN; or another -errno, which the socket tells the receiver. */
static int flush_rest(struct stream_way *w)
{
	while (w->rest_at < w->rest_len) {
		ssize_t n = send(w->io.fd, w->rest + w->rest_at, w->rest_len - w->rest_at,
				 MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINPROGRESS)
			return -errno;
		if (n < 0) {
			loop_io_drained(&w->io, EPOLLOUT);
			loop_io_want(&w->io, EPOLLIN | EPOLLOUT);
			return -EAGAIN;
		}
		w->rest_at += (size_t)n;
	}
	drop_rest(w);
	loop_io_want(&w->io, EPOLLIN);
	return 0;
}

static size_t length_of(const struct iovec *iov, unsigned count)
{
	size_t len = 0;

	while (count--)
		len += iov[count].iov_len;
	return len;
}

/* What a write left of the first @count pieces, of which @sent bytes are gone. Without memory for it the
 * stream can never be whole again: it is ended, which is an event. */
static void keep_rest(struct stream_way *w, const struct iovec *iov, unsigned count, size_t sent)
{
	size_t len = length_of(iov, count), at = 0;
	uint8_t *all = malloc(len);

	if (!all) {
		w->err = -ENOMEM;
		w->base.call = "malloc";
		(void)shutdown(w->io.fd, SHUT_RDWR);
		return;
	}
	for (unsigned i = 0; i < count; at += iov[i++].iov_len)
		if (iov[i].iov_len)
			memcpy(all + at, iov[i].iov_base, iov[i].iov_len);
	w->rest = all;
	w->rest_len = len;
	w->rest_at = sent;
	loop_io_drained(&w->io, EPOLLOUT);
	loop_io_want(&w->io, EPOLLIN | EPOLLOUT);
}

/* @sent bytes of @out are gone. A frame that has begun is kept with what comes before it, those behind it are
 * lost. What is owed is a part of the first frame. */
static void settle(struct outgoing *out, size_t sent)
{
	size_t end = out->iov[0].iov_len;
	unsigned whole = 0;

	for (; whole < out->count; whole++) {
		size_t len = length_of(&out->iov[1 + whole * PIECES], PIECES);

		if (end + len > sent)
			break;
		end += len;
	}
	out->sent->sent += whole;
	if (whole == out->count)
		return;
	if (!whole || sent > end) {
		unsigned first = whole ? 1 + whole * PIECES : 0;

		keep_rest(out->way, out->iov + first, 1 + (whole + 1) * PIECES - first,
			  whole ? sent - end : sent);
		out->sent->sent++;
		whole++;
	}
	if (whole < out->count)
		lose(out->sent, out->count - whole, -EAGAIN);
}

/* EINPROGRESS: fast open sent the SYN alone; it counts as begun, the first datagram is not to be lost. */
static void write_out(struct outgoing *out)
{
	struct stream_way *w = out->way;
	const struct msghdr message = { .msg_iov = out->iov,
					.msg_iovlen = 1 + (size_t)out->count * PIECES };
	ssize_t n;

	if (!out->count)
		return;
	if (w->err || w->rest) {
		lose(out->sent, out->count, w->err ? w->err : -EAGAIN);
		out->count = 0;
		return;
	}
	n = sendmsg(w->io.fd, &message, MSG_NOSIGNAL);
	if (n < 0 && errno != EINPROGRESS) {
		lose(out->sent, out->count, -errno);
	} else {
		settle(out, n < 0 ? 0 : (size_t)n);
		w->paid = true;
		forget_owed(w);
		out->iov[0] = (struct iovec){ 0 };
	}
	out->count = 0;
}

static void add(struct outgoing *out, const struct datagram *from, const uint8_t *data, size_t len)
{
	struct iovec *iov = &out->iov[1 + (size_t)out->count * PIECES];

	if (from->head_len + len > FRAME_DATA_MAX) {
		lose(out->sent, 1, -EMSGSIZE);
		return;
	}
	frame_head(out->heads[out->count], from->head_len + len);
	iov[0] = (struct iovec){ out->heads[out->count], FRAME_HEAD };
	iov[1] = (struct iovec){ (void *)from->head, from->head_len };
	iov[2] = (struct iovec){ (void *)data, len };
	out->count++;
}

static void begin(struct outgoing *out, struct stream_way *w, struct datagram_sent *sent)
{
	out->way = w;
	out->sent = sent;
	out->count = 0;
	out->iov[0] = (struct iovec){ 0 };
	if (!w->paid && w->owed)
		out->iov[0] = (struct iovec){ w->owed->header, w->owed->header_len };
	*sent = (struct datagram_sent){ 0 };
}

static bool is_for_peer(const struct packet_way *way, const struct addr *to)
{
	return to->family == AF_UNSPEC || way->peer.family == AF_UNSPEC ||
	       addr_equal(to, &way->peer);
}

static void add_all(struct outgoing *out, const struct datagram *from)
{
	size_t at = 0;

	for (unsigned left = datagram_count(from); left; left--) {
		size_t len = left > 1 ? from->segment : from->len - at;

		if (out->count == DATAGRAM_BATCH)
			write_out(out);
		add(out, from, at ? from->data + at : from->data, len); /* NULL: an empty one */
		at += len;
	}
}

static void stream_send(struct packet_way *way, const struct datagram *list, unsigned count,
			struct datagram_sent *ret)
{
	struct stream_way *w = way_of(way);
	struct outgoing out;

	(void)flush_rest(w);
	begin(&out, w, ret);
	for (unsigned i = 0; i < count; i++) {
		if (is_for_peer(way, &list[i].destination))
			add_all(&out, &list[i]);
		else
			lose(ret, datagram_count(&list[i]), -EISCONN);
	}
	write_out(&out);
}

/* Receiving */

static int ended(struct stream_way *w, int err, const char *call)
{
	w->base.call = call;
	return err;
}

/* The answer of the tunnels: 0: it is over; -EAGAIN; or another -errno. */
static int hear(struct stream_way *w)
{
	struct frames *frames = &w->in->frames;

	while (!w->answered) {
		size_t left = frames_left(frames);
		struct handshake_step step = { .in = frames->data + frames->at, .in_len = left };
		enum handshake_result result = w->owed->ops->answer(w->owed->state, &step);

		frames_skip(frames, step.eaten);
		if (result >= HANDSHAKE_REFUSED)
			return ended(w, step.err ? step.err : -EPROTO, step.why);
		if (result == HANDSHAKE_MORE && !step.eaten)
			return left < HANDSHAKE_IN_MAX
				       ? -EAGAIN
				       : ended(w, -EPROTO, "the proxy says too much");
		w->answered = result == HANDSHAKE_DONE;
	}
	forget_owed(w);
	return 0;
}

static unsigned collect(struct incoming *in)
{
	const uint8_t *data;
	unsigned count = 0;
	size_t len;

	while (count < DATAGRAM_BATCH && frames_next(&in->frames, &data, &len))
		in->list[count++] = (struct datagram){ .data = data, .len = len };
	return count;
}

/* 0; -EAGAIN; or another -errno. */
static int read_more(struct stream_way *w)
{
	size_t size;
	uint8_t *space = frames_space(&w->in->frames, &size);
	ssize_t n = recv(w->io.fd, space, size, 0);

	if (n > 0) {
		frames_add(&w->in->frames, (size_t)n);
		return 0;
	}
	if (!n)
		return ended(w, -ECONNRESET, "the proxy hung up");
	if (errno != EAGAIN)
		return ended(w, -errno, w->base.ops->name);
	loop_io_drained(&w->io, EPOLLIN);
	if (!frames_left(&w->in->frames))
		free(TAKE_PTR(w->in));
	return -EAGAIN;
}

static int new_incoming(struct stream_way *w)
{
	w->in = malloc(sizeof(*w->in)); /* not calloc(): its pages are touched as they are filled */
	if (!w->in)
		return ended(w, -ENOMEM, "malloc");
	w->in->frames.at = w->in->frames.end = 0;
	return 0;
}

static int stream_receive(struct packet_way *way, struct datagram_batch *batch,
			  const struct datagram **ret)
{
	struct stream_way *w = way_of(way);
	unsigned count;
	int r = w->err;

	if (!r && !w->in)
		r = new_incoming(w);
	while (!r) {
		r = hear(w);
		if (r && r != -EAGAIN)
			break;
		count = r ? 0 : collect(w->in);
		*ret = w->in->list;
		if (count)
			return (int)count;
		r = read_more(w);
	}
	return r;
}

static void stream_close(struct packet_way *way)
{
	struct stream_way *w = way_of(way);

	loop_io_close(&w->io);
	dial_owed_free(w->owed);
	drop_rest(w);
	free(w->in);
	free(w);
}

static const struct packet_ops vless_ops = {
	.name = "vless", .send = stream_send, .receive = stream_receive, .close = stream_close
};

static void on_io(struct loop_io *io) /* the way may be gone on return */
{
	struct stream_way *w = container_of(io, struct stream_way, io);

	if (w->rest && io->have & EPOLLOUT)
		(void)flush_rest(w);
	if (io->have & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP) && w->base.ready)
		w->base.ready(w->base.owner);
}

int packet_stream_new(struct packet_way **ret, struct loop_io *io, struct dial_owed *owed,
		      const struct target *target, const char **ret_call)
{
	struct stream_way *w = calloc(1, sizeof(*w));
	int r;

	*ret_call = "malloc";
	if (!w)
		return -ENOMEM;
	*ret_call = "epoll_ctl";
	r = loop_io_move(&w->io, io, on_io);
	if (r) {
		free(w);
		return r;
	}
	w->base.ops = &vless_ops;
	w->base.fd = -1;
	w->base.bound = true;
	if (!target->domain)
		w->base.peer = target->addr;
	w->owed = owed;
	w->paid = !owed;
	w->answered = !owed || !owed->ops;
	loop_io_want(&w->io, EPOLLIN);
	*ret = &w->base;
	return 0;
}
