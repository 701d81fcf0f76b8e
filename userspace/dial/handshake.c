/* handshake - speaks a codec of proto/ on the socket that the dialer below has connected.
 *
 * Input is peeked at, and only what the codec has eaten leaves the socket: what is handed on is a plain
 * descriptor that has lost nothing. A deferred codec speaks to nobody, its header is owed.
 *
 * Datagrams: what comes out is a way. The proxy is always dialed as a stream; if the codec names a relay, that
 * is dialed too, by the same dialer below.
 */
#include "dial/handshake.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "dial/owed.h"
#include "dial/packet_socks5.h"
#include "dial/packet_stream.h"
#include "dial/relay.h"
#include "net/sock.h"

struct handshake_dial {
	struct dial base;
	struct dial *below;     /* NULL: over */
	struct loop_io io;      /* what it has connected */
	struct dial_owed *owed; /* by it, its answer comes before ours; NULL: nothing, or no more */
	void *state;            /* of the codec */
	uint8_t out[2 * HANDSHAKE_OUT_MAX]; /* a header that is owed, and what the codec says */
	size_t out_len, sent;
	size_t seen;                  /* bytes of input that were not enough */
	bool again;                   /* the codec is asked again without more of them */
	bool done;                    /* but for what is not sent yet */
	struct addr peer;             /* of @io, the proxy; AF_UNSPEC: only a proxy knows it */
	struct handshake_relay relay; /* for datagrams; while @below is the dial of it */
};

static const struct handshake_dialer *dialer_of(const struct handshake_dial *d)
{
	return container_of(d->base.dialer, const struct handshake_dialer, base);
}

/* Or its protocol is only put before the connection. */
static bool names_proxy(const struct handshake_dialer *self)
{
	return self->proxy.domain || self->proxy.addr.family != AF_UNSPEC;
}

static void fail(struct handshake_dial *d, int err, const char *call)
{
	dial_finish(&d->base, &(struct dial_result){ .err = err, .call = call });
}

/* 0: all is sent; -EAGAIN. EINPROGRESS: fast open sent the SYN alone, and the bytes are still ours. */
static int flush(struct handshake_dial *d)
{
	while (d->sent < d->out_len) {
		ssize_t n = send(d->io.fd, d->out + d->sent, d->out_len - d->sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINPROGRESS)
			return -errno;
		if (n < 0) {
			loop_io_drained(&d->io, EPOLLOUT);
			loop_io_want(&d->io, EPOLLOUT);
			return -EAGAIN;
		}
		d->sent += (size_t)n;
	}
	d->sent = d->out_len = 0;
	return 0;
}

static void say(struct handshake_dial *d, const void *data, size_t len)
{
	assert(len <= sizeof(d->out) - d->out_len);
	memcpy(d->out + d->out_len, data, len);
	d->out_len += len;
}

/* One step of the tunnel below until it has its answer, then of ours. */
static enum handshake_result step_of(struct handshake_dial *d, struct handshake_step *step)
{
	enum handshake_result result;

	if (!d->owed)
		return dialer_of(d)->ops->step(d->state, step);
	result = d->owed->ops->answer(d->owed->state, step);
	if (result != HANDSHAKE_DONE)
		return result;
	dial_owed_free(TAKE_PTR(d->owed));
	return HANDSHAKE_MORE; /* an answer has bytes: after it is asked again */
}

/* Out of the queue, by a plain read: MSG_TRUNC is not known to every kind of stream socket (MPTCP). */
static int drop_input(struct handshake_dial *d, uint8_t *in, size_t len)
{
	ssize_t n = len ? recv(d->io.fd, in, len, 0) : 0;

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

/* 0; or -errno, with *@ret_call. */
static int react(struct handshake_dial *d, enum handshake_result result,
		 const struct handshake_step *step, const char **ret_call)
{
	switch (result) {
	case HANDSHAKE_REFUSED:
		*ret_call = step->why;
		return step->err;
	case HANDSHAKE_BAD:
		*ret_call = step->why;
		return -EPROTO;
	case HANDSHAKE_DONE:
		d->done = true;
		break;
	case HANDSHAKE_MORE:
		break;
	}
	say(d, step->out, step->out_len);
	return 0;
}

static int advance(struct handshake_dial *d, uint8_t *in, size_t len, const char **ret_call)
{
	struct handshake_step step = { .in = in, .in_len = len, .family = d->peer.family };
	int r;

	d->again = false;
	r = react(d, step_of(d, &step), &step, ret_call);
	if (r)
		return r;
	assert(step.eaten <= len);
	d->again |= step.eaten > 0;
	d->seen = len - step.eaten;
	return drop_input(d, in, step.eaten);
}

/* Nothing new has come: -EAGAIN, or why nothing will. */
static int wait_for_more(struct handshake_dial *d, uint32_t have, const char **ret_call)
{
	int err = have & (EPOLLERR | EPOLLHUP) ? sock_error(d->io.fd) : 0;

	if (err)
		return err;
	*ret_call = "the proxy hung up";
	if (have & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
		return -ECONNRESET;
	*ret_call = "the proxy says too much";
	if (d->seen == HANDSHAKE_IN_MAX)
		return -EPROTO;
	/* Bytes that were looked at are still there, and are told of again when there are more. */
	loop_io_drained(&d->io, EPOLLIN);
	loop_io_want(&d->io, EPOLLIN);
	return -EAGAIN;
}

/* What has ended is asked before the look: then all that came before the end is looked at. */
static int listen_to_proxy(struct handshake_dial *d, const char **ret_call)
{
	uint8_t in[HANDSHAKE_IN_MAX];
	uint32_t have = d->io.have;
	ssize_t n = recv(d->io.fd, in, sizeof(in), MSG_PEEK);

	if (n < 0 && errno != EAGAIN)
		return -errno;
	if (!n && !d->again)
		have |= EPOLLRDHUP;
	if (n < 0)
		n = 0;
	if (d->again || (size_t)n > d->seen)
		return advance(d, in, (size_t)n, ret_call);
	return wait_for_more(d, have, ret_call);
}

static void on_relay(void *owner, const struct dial_result *result)
{
	struct handshake_dial *d = owner;
	struct packet_way *way;
	const char *call;
	int r;

	d->below = NULL; /* frees itself */
	if (result->err) {
		dial_finish(&d->base, result);
		return;
	}
	r = packet_socks5_new(&way, &d->io, result->packet, &d->base.request, &call);
	if (r) {
		packet_close(result->packet);
		fail(d, r, call);
		return;
	}
	dial_finish(&d->base, &(struct dial_result){ .packet = way });
}

/* The address that has answered is better than a name. */
static struct target proxy_of(const struct handshake_dial *d)
{
	const struct handshake_dialer *self = dialer_of(d);

	if (d->peer.family != AF_UNSPEC)
		return (struct target){ .addr = d->peer };
	return names_proxy(self) ? self->proxy : d->base.request.target;
}

static int dial_relay(struct handshake_dial *d, const char **ret_call)
{
	const struct handshake_dialer *self = dialer_of(d);
	const struct target proxy = proxy_of(d);
	struct dial_request request = d->base.request;

	self->ops->relay(d->state, &d->relay);
	relay_request(&request, &d->relay, &proxy, d->io.fd);
	request.done = on_relay;
	request.owner = d;
	(void)sock_set_keep_alive(d->io.fd, &self->keep_alive);
	loop_io_want(&d->io, EPOLLIN | EPOLLRDHUP);
	return dial_start(&d->below, self->via, &request, ret_call);
}

/* All is said: 0 if there is another dial to wait for. */
static int conclude(struct handshake_dial *d, const char **ret_call) /* @d may be gone on return */
{
	if (d->base.request.type == SOCK_DGRAM)
		return dial_relay(d, ret_call);
	dial_finish(&d->base, &(struct dial_result){ .io = &d->io });
	return 0;
}

static void run(struct handshake_dial *d) /* @d may be gone on return */
{
	const char *call = dialer_of(d)->ops->name;
	int r;

	for (;;) {
		r = flush(d);
		if (!r && d->done)
			break;
		if (!r)
			r = listen_to_proxy(d, &call);
		if (r == -EAGAIN)
			return;
		if (r) {
			fail(d, r, call);
			return;
		}
	}
	r = conclude(d, &call);
	if (r)
		fail(d, r, call);
}

static void on_io(struct loop_io *io)
{
	struct handshake_dial *d = container_of(io, struct handshake_dial, io);
	const char *call = dialer_of(d)->ops->name;
	int r;

	if (!d->below) {
		run(d);
		return;
	}
	r = packet_socks5_control(io, &call);
	if (r)
		fail(d, r, call);
}

/* The first step has no input. Who owes no answer is paid with the header. */
static int greet(struct handshake_dial *d, const char **ret_call)
{
	struct handshake_step step = { .family = d->peer.family };

	if (d->owed)
		say(d, d->owed->header, d->owed->header_len);
	if (d->owed && !d->owed->ops)
		dial_owed_free(TAKE_PTR(d->owed));
	return react(d, dialer_of(d)->ops->step(d->state, &step), &step, ret_call);
}

static void begin(struct handshake_dial *d, const struct dial_result *below)
{
	const char *call = "epoll_ctl";
	int r = loop_io_move(&d->io, below->io, on_io);

	d->owed = below->owed;
	d->peer = below->peer;
	if (!r)
		r = greet(d, &call);
	if (r)
		fail(d, r, call);
	else
		run(d);
}

static struct dial_owed *new_owed(struct handshake_dial *d)
{
	const struct handshake_ops *ops = dialer_of(d)->ops;
	struct dial_owed *owed = calloc(1, sizeof(*owed));
	struct handshake_step step = { 0 };

	if (!owed)
		return NULL;
	(void)ops->step(d->state, &step);
	memcpy(owed->header, step.out, step.out_len);
	owed->header_len = step.out_len;
	if (ops->answer) {
		owed->ops = ops;
		owed->state = TAKE_PTR(d->state);
	}
	return owed;
}

/* Datagrams go by the stream, as frames. */
static int carry(const struct handshake_dial *d, struct dial_result *result, const char **ret_call)
{
	struct packet_way *way;
	int r;

	(void)sock_set_keep_alive(result->io->fd, &dialer_of(d)->keep_alive);
	r = packet_stream_new(&way, result->io, result->owed, &d->base.request.target, ret_call);

	if (!r)
		*result = (struct dial_result){ .packet = way };
	return r;
}

/* The socket is not touched: it goes through as it came. */
static void defer(struct handshake_dial *d, const struct dial_result *below)
{
	const char *call = dialer_of(d)->ops->name;
	struct dial_result result = *below;
	struct dial_owed *owed = new_owed(d);
	int r = 0;

	if (!owed)
		r = -ENOMEM;
	else if (below->owed)
		r = dial_owed_join(&owed, below->owed, owed);
	if (r) {
		dial_owed_free(below->owed);
		dial_owed_free(owed);
		fail(d, r, call);
		return;
	}
	result.owed = owed;
	if (names_proxy(dialer_of(d)))
		result.peer = (struct addr){ 0 };
	if (d->base.request.type == SOCK_DGRAM)
		r = carry(d, &result, &call);
	if (!r) {
		dial_finish(&d->base, &result);
		return;
	}
	dial_owed_free(owed);
	fail(d, r, call);
}

static void on_below(void *owner, const struct dial_result *result)
{
	struct handshake_dial *d = owner;

	d->below = NULL; /* frees itself */
	if (result->err)
		dial_finish(&d->base, result);
	else if (dialer_of(d)->ops->deferred)
		defer(d, result);
	else
		begin(d, result);
}

static int new_state(struct handshake_dial *d)
{
	const struct dial_request *request = &d->base.request;
	const struct handshake_dialer *self = dialer_of(d);
	const struct handshake_target target = { .addr = request->target.addr,
						 .domain = request->target.domain,
						 .source = request->source,
						 .original = request->original,
						 .datagrams = request->type == SOCK_DGRAM };

	d->base.call = self->ops->name;
	if (target.datagrams && self->ops->no_datagrams) {
		d->base.call = self->ops->no_datagrams;
		return -EPROTONOSUPPORT;
	}
	d->state = calloc(1, self->ops->state_size);
	return d->state ? self->ops->init(d->state, &target, &self->config) : -ENOMEM;
}

static int handshake_start(struct dial *dial)
{
	struct handshake_dial *d = container_of(dial, struct handshake_dial, base);
	const struct handshake_dialer *self = dialer_of(d);
	struct dial_request request = dial->request;
	int r;

	d->io = (struct loop_io)LOOP_IO_NULL;
	if (names_proxy(self))
		request.target = self->proxy;
	request.type = SOCK_STREAM;
	request.done = on_below;
	request.owner = d;
	r = new_state(d);
	if (!r)
		r = dial_start(&d->below, self->via, &request, &dial->call);
	if (r)
		free(d->state);
	return r;
}

static void handshake_cancel(struct dial *dial, bool reset)
{
	struct handshake_dial *d = container_of(dial, struct handshake_dial, base);

	dial_cancel(d->below, reset);
	if (d->io.loop && reset)
		(void)sock_set_reset_on_close(d->io.fd);
	loop_io_close(&d->io);
	dial_owed_free(d->owed);
	free(d->state);
}

static void handshake_free(struct dialer *self)
{
	struct handshake_dialer *handshake = container_of(self, struct handshake_dialer, base);

	free(handshake->proxy_domain);
	free(handshake);
}

const struct dialer_ops dial_handshake_ops = {
	.name = "handshake",
	.dial_size = sizeof(struct handshake_dial),
	.start = handshake_start,
	.cancel = handshake_cancel,
	.free = handshake_free,
};
