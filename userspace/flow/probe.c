#include "flow/probe.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/cleanup.h"
#include "net/stream.h"

#define HEAD_MAX   1024
#define STATUS_LEN 12 /* "HTTP/1.1 204" */

struct probe {
	struct probe_request request;
	struct timer limit;
	struct dial *dial;      /* until it is connected */
	struct stream stream;   /* then */
	struct dial_owed *owed; /* whose answer() comes before the server's; NULL: none does */
	bool opens;             /* the connection is made by the first write, and not made yet */
	uint64_t begin_ms;
	uint32_t ms; /* to the first byte */
	char out[HANDSHAKE_OUT_MAX + HEAD_MAX];
	size_t out_len, out_sent;
	char status[STATUS_LEN + 1];
	size_t status_len;
};

enum progress { PROBE_WAIT, PROBE_NEXT, PROBE_OVER };

void probe_cancel(struct probe *p)
{
	if (!p)
		return;
	dial_cancel(p->dial, true);
	timer_stop(&p->limit, &p->request.env->loop->timers);
	stream_close(&p->stream, true);
	dial_owed_free(p->owed);
	free(p);
}

static void finish(struct probe *p, const struct probe_result *result)
{
	probe_done_fn *done = p->request.done;
	void *owner = p->request.owner;

	probe_cancel(p);
	done(owner, result);
}

static enum progress failed(struct probe *p, int err, const char *call)
{
	const struct probe_result result = { .err = err, .call = p->opens ? "connect" : call };

	if (p->request.trace && p->opens)
		trace_revoke(p->request.trace, err, result.call, p->request.env->loop->now_ms);
	finish(p, &result);
	return PROBE_OVER;
}

static void on_limit(struct timer *timer)
{
	struct probe *p = container_of(timer, struct probe, limit);

	failed(p, -ETIMEDOUT, p->dial ? "dial" : "answer");
}

static int send_out(struct probe *p)
{
	ssize_t n;

	while (p->out_sent < p->out_len) {
		n = send(p->stream.fd, p->out + p->out_sent, p->out_len - p->out_sent,
			 MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINPROGRESS)
			return -errno;
		if (n < 0) {
			loop_io_drained(&p->stream.io, EPOLLOUT);
			return 0;
		}
		p->out_sent += (size_t)n;
	}
	return 0;
}

static enum progress wait_for_more(struct probe *p)
{
	/* not connected yet the kernel reports OUT and HUP: what recv() says counts, and it said EAGAIN */
	loop_io_drained(&p->stream.io,
			EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | (p->opens ? EPOLLOUT : 0));
	return PROBE_WAIT;
}

/* Only what is the proxy's own is taken. */
static enum progress read_owed(struct probe *p)
{
	uint8_t data[HANDSHAKE_IN_MAX];
	struct handshake_step step = { .in = data };
	enum handshake_result result;
	ssize_t n = recv(p->stream.fd, data, sizeof(data), MSG_PEEK);

	if (n < 0)
		return errno == EAGAIN ? wait_for_more(p)
				       : failed(p, -errno, "answer of the proxy");
	if (n == 0)
		return failed(p, -ECONNRESET, "answer of the proxy");
	step.in_len = (size_t)n;
	result = p->owed->ops->answer(p->owed->state, &step);
	if (step.eaten && recv(p->stream.fd, data, step.eaten, 0) != (ssize_t)step.eaten)
		return failed(p, -EIO, "answer of the proxy");
	if (result == HANDSHAKE_DONE) {
		dial_owed_free(p->owed);
		p->owed = NULL;
		return PROBE_NEXT;
	}
	if (result != HANDSHAKE_MORE || step.in_len == sizeof(data))
		return failed(p, step.err ? step.err : -EPROTO,
			      step.why ? step.why : "answer of the proxy");
	/* what was left lying is looked at again when there is more of it */
	return step.eaten ? PROBE_NEXT : wait_for_more(p);
}

static enum progress judge(struct probe *p)
{
	struct probe_result result = { .ms = p->ms };
	char *end;

	if (strncmp(p->status, "HTTP/1.", 7) != 0 || p->status[8] != ' ')
		return failed(p, -EPROTO, "answer that is not HTTP");
	result.status = (unsigned)strtoul(p->status + 9, &end, 10);
	if (*end || result.status < 100)
		return failed(p, -EPROTO, "answer that is not HTTP");
	if (result.status >= 500) {
		result.err = -EREMOTEIO;
		result.call = "HTTP status";
	}
	finish(p, &result);
	return PROBE_OVER;
}

static enum progress read_status(struct probe *p)
{
	ssize_t n = recv(p->stream.fd, p->status + p->status_len, STATUS_LEN - p->status_len, 0);

	if (n < 0)
		return errno == EAGAIN ? wait_for_more(p) : failed(p, -errno, "answer");
	if (n == 0)
		return failed(p, -ECONNRESET, "answer");
	if (!p->status_len)
		p->ms = (uint32_t)(p->request.env->loop->now_ms - p->begin_ms);
	p->status_len += (size_t)n;
	return p->status_len == STATUS_LEN ? judge(p) : PROBE_NEXT;
}

/* @p may be gone on return. */
static void run(struct probe *p)
{
	enum progress progress;
	int r = send_out(p);

	if (r) {
		failed(p, r, "request");
		return;
	}
	do
		progress = p->owed ? read_owed(p) : read_status(p);
	while (progress == PROBE_NEXT);
	if (progress == PROBE_WAIT)
		loop_io_want(&p->stream.io,
			     EPOLLIN | EPOLLRDHUP |
				     (p->opens || p->out_sent < p->out_len ? EPOLLOUT : 0));
}

static void on_io(struct loop_io *io)
{
	struct probe *p = container_of(io, struct probe, stream.io);

	if ((io->have & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == EPOLLOUT)
		p->opens = false;
	run(p);
}

/* The header of a proxy and the question leave together. */
static void take_owed(struct probe *p, struct dial_owed *owed)
{
	const struct probe_url *url = p->request.url;
	int len;

	if (owed) {
		memcpy(p->out, owed->header, owed->header_len);
		p->out_len = owed->header_len;
	}
	len = snprintf(p->out + p->out_len, HEAD_MAX,
		       "HEAD %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: seam\r\nAccept: */*\r\n"
		       "Connection: close\r\n\r\n",
		       url->path, url->authority);
	p->out_len += (size_t)len;
	if (owed && owed->ops)
		p->owed = owed;
	else
		dial_owed_free(owed);
}

static void on_dialed(void *owner, const struct dial_result *result)
{
	struct probe *p = owner;
	int r;

	p->dial = NULL;
	if (result->err) {
		failed(p, result->err, result->call ? result->call : "dial");
		return;
	}
	p->opens = result->owes_write;
	take_owed(p, result->owed);
	r = stream_init_moved(&p->stream, result->io, on_io);
	if (r)
		failed(p, r, "epoll_ctl");
	else
		run(p);
}

/* As a flow to the server is dialed that @request->url names; who is dialed instead is asked for that server. */
static struct target probe_target(const struct probe_request *request)
{
	const struct target *override = request->override;
	const struct probe_url *url = request->url;
	struct target target = { .addr = url->addr,
				 .domain = url->addr.family == AF_UNSPEC ? url->host : NULL };

	if (!override)
		return target;
	if (override->domain || override->addr.family != AF_UNSPEC)
		target = *override;
	target.addr.port = override->addr.port ? override->addr.port : url->addr.port;
	return target;
}

int probe_start(struct probe **ret, const struct probe_request *request, const char **ret_call)
{
	struct probe *p = calloc(1, sizeof(*p));
	const struct dial_request dial = {
		.env = request->env,
		.target = probe_target(request),
		.trace = request->trace,
		.done = on_dialed,
		.owner = p,
	};
	int r;

	*ret_call = "malloc";
	if (!p)
		return -ENOMEM;
	p->request = *request;
	p->stream = (struct stream)STREAM_NULL;
	p->begin_ms = request->env->loop->now_ms;
	timer_init(&p->limit, on_limit);
	r = dial_start(&p->dial, request->dialer, &dial, ret_call);
	if (r) {
		free(p);
		return r;
	}
	timer_start(&p->limit, &request->env->loop->timers, PROBE_LIMIT_MS);
	*ret = p;
	return 0;
}
