#include "flow/dns_flow.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "dns/forward.h"

#define UNDER_WAY_MAX 16
#define IDLE_MS       10000
#define PREFIX        2 /* bytes of length before each message */
#define QUESTION_MAX  4096
#define OUT_FULL      DNS_MESSAGE_MAX /* no more questions are taken */
#define OUT_KEPT      4096            /* of the buffer, while there is nothing in it */

struct slot {
	struct dns_forward forward;
	struct dns_flow *flow;
	bool pending;
};

struct dns_flow {
	struct dns_flow_request request;
	struct timer idle;
	struct slot slots[UNDER_WAY_MAX];
	unsigned pending;
	bool ended;   /* nothing more is taken from the client */
	bool expired; /* it had its time, and that again for its answers */
	int failed;   /* -errno */
	uint64_t questions;
	uint8_t *out;
	size_t out_sent, out_size, out_capacity;
	size_t in_size;
	uint8_t in[PREFIX + QUESTION_MAX];
};

static void on_idle(struct timer *timer)
{
	struct dns_flow *f = container_of(timer, struct dns_flow, idle);

	if (f->ended)
		f->expired = true;
	else
		timer_start(&f->idle, &f->request.loop->timers, IDLE_MS);
	f->ended = true;
	f->request.wake(f->request.owner);
}

int dns_flow_start(struct dns_flow **ret, const struct dns_flow_request *request)
{
	struct dns_flow *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->request = *request;
	timer_init(&f->idle, on_idle);
	timer_start(&f->idle, &request->loop->timers, IDLE_MS);
	*ret = f;
	return 0;
}

void dns_flow_free(struct dns_flow *f)
{
	if (!f)
		return;
	timer_stop(&f->idle, &f->request.loop->timers);
	for (int i = 0; i < UNDER_WAY_MAX; i++)
		resolver_forward_cancel(&f->slots[i].forward);
	free(f->out);
	free(f);
}

uint64_t dns_flow_questions(const struct dns_flow *f)
{
	return f->questions;
}

static size_t unsent(const struct dns_flow *f)
{
	return f->out_size - f->out_sent;
}

static int make_room(struct dns_flow *f, size_t size)
{
	size_t capacity = f->out_capacity ? f->out_capacity : 512;
	uint8_t *out;

	if (f->out_sent) {
		memmove(f->out, f->out + f->out_sent, unsent(f));
		f->out_size -= f->out_sent;
		f->out_sent = 0;
	}
	while (capacity - f->out_size < size)
		capacity *= 2;
	if (capacity == f->out_capacity)
		return 0;
	out = realloc(f->out, capacity);
	if (!out)
		return -ENOMEM;
	f->out = out;
	f->out_capacity = capacity;
	return 0;
}

static void put_answer(struct dns_flow *f, const uint8_t *bytes, size_t size)
{
	uint8_t *at;

	if (make_room(f, PREFIX + size) < 0) {
		f->failed = -ENOMEM;
		return;
	}
	at = f->out + f->out_size;
	at[0] = (uint8_t)(size >> 8);
	at[1] = (uint8_t)size;
	memcpy(at + PREFIX, bytes, size);
	f->out_size += PREFIX + size;
}

static void on_answer(struct dns_forward *forward, const struct dns_raw *answer)
{
	struct slot *slot = container_of(forward, struct slot, forward);
	struct dns_flow *f = slot->flow;

	slot->pending = false;
	f->pending--;
	put_answer(f, answer->bytes, answer->size);
	f->request.wake(f->request.owner); /* @f may be gone */
}

static struct slot *free_slot(struct dns_flow *f)
{
	struct slot *slot = f->slots;

	while (slot->pending)
		slot++;
	return slot;
}

size_t dns_flow_server(const struct route_rules *rules, const struct route_meta *meta,
		       const struct dns_query *query)
{
	struct route_meta about = *meta;

	about.domain = query->name[0] ? query->name : NULL;
	about.resolved = NULL;
	about.resolved_count = 0;
	return route_dns_server(rules, &about);
}

/* There is a free slot. */
static int ask(struct dns_flow *f, const uint8_t *message, size_t size)
{
	struct slot *slot = free_slot(f);
	struct dns_query *query = &slot->forward.query;
	uint8_t refusal[DNS_QUERY_MAX];
	struct dns_raw answer;
	int r = dns_query_read(message, size, query);

	if (r < 0)
		return r;
	f->questions++;
	timer_start(&f->idle, &f->request.loop->timers, IDLE_MS);
	slot->flow = f;
	slot->forward.done = on_answer;
	r = resolver_forward(f->request.resolver, &slot->forward,
			     dns_flow_server(f->request.rules, &f->request.meta, query), &answer);
	if (r == 0) {
		slot->pending = true;
		f->pending++;
	} else if (r > 0) {
		put_answer(f, answer.bytes, answer.size);
	} else {
		put_answer(f, refusal, dns_query_refuse(query, DNS_RCODE_SERVFAIL, refusal));
	}
	return 0;
}

/* The size of the question that @f->in begins with, 0: it is not there yet. -EBADMSG: longer than any. */
static int first_question(const struct dns_flow *f)
{
	size_t size;

	if (f->in_size < PREFIX)
		return 0;
	size = (size_t)(f->in[0] << 8 | f->in[1]);
	if (!size || size > QUESTION_MAX)
		return -EBADMSG;
	return f->in_size - PREFIX < size ? 0 : (int)size;
}

/* Whether any was taken. The client may have ended behind a question. */
static bool take_questions(struct dns_flow *f)
{
	size_t used = 0;
	int size = 0;

	while (f->pending < UNDER_WAY_MAX && unsent(f) < OUT_FULL) {
		size = first_question(f);
		if (size > 0 && ask(f, f->in + PREFIX, (size_t)size) < 0)
			size = -EBADMSG;
		if (size <= 0)
			break;
		used += PREFIX + (size_t)size;
		f->in_size -= PREFIX + (size_t)size;
		memmove(f->in, f->in + PREFIX + size, f->in_size);
	}
	if (size < 0) {
		f->ended = true;
		f->in_size = 0;
	}
	return used > 0;
}

static int flush(struct dns_flow *f)
{
	while (unsent(f)) {
		ssize_t n = send(f->request.client->fd, f->out + f->out_sent, unsent(f),
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			loop_io_drained(&f->request.client->io, EPOLLOUT);
			return 0;
		}
		if (n < 0)
			return -errno;
		f->out_sent += (size_t)n;
	}
	f->out_sent = f->out_size = 0;
	if (f->out_capacity > OUT_KEPT) {
		free(f->out);
		f->out = NULL;
		f->out_capacity = 0;
	}
	return 0;
}

static bool may_read(const struct dns_flow *f)
{
	return !f->ended && f->pending < UNDER_WAY_MAX && unsent(f) < OUT_FULL &&
	       f->in_size < sizeof(f->in);
}

static int receive(struct dns_flow *f)
{
	ssize_t n = recv(f->request.client->fd, f->in + f->in_size, sizeof(f->in) - f->in_size, 0);

	if (n < 0 && errno == EAGAIN)
		loop_io_drained(&f->request.client->io, EPOLLIN);
	else if (n < 0)
		return -errno;
	else if (!n)
		f->ended = true;
	else
		f->in_size += (size_t)n;
	return 0;
}

/* A question that waits for a slot keeps it alive; one that is not whole and never will be does not. */
static bool is_done(const struct dns_flow *f)
{
	return f->ended && !f->pending && !unsent(f) && first_question(f) <= 0;
}

/* One read a turn: who sends without a pause must not keep the loop. */
int dns_flow_run(struct dns_flow *f)
{
	bool has_read = false;
	int r;

	if (f->request.client->io.have & (EPOLLERR | EPOLLHUP))
		return -ECONNRESET;
	for (;;) {
		r = flush(f);
		if (r < 0 || f->failed)
			return r < 0 ? r : f->failed;
		if (take_questions(f))
			continue;
		if (has_read || !may_read(f))
			break;
		r = receive(f);
		if (r < 0)
			return r;
		has_read = true;
	}
	if (is_done(f))
		return 1;
	if (f->expired)
		return -ETIMEDOUT;
	loop_io_want(&f->request.client->io,
		     (may_read(f) ? EPOLLIN : 0U) | (unsent(f) ? EPOLLOUT : 0U));
	return 0;
}
