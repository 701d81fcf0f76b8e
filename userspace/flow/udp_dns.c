/* udp_dns - a hijacked session: each datagram is a question (RFC 1035 4.2.1), answered as whoever it was
 * sent to. An answer that is longer than its client takes is cut to nothing, with TC set: it asks by TCP. */
#include <stdlib.h>
#include "base/list.h"
#include "dns/forward.h"
#include "flow/dns_flow.h"
#include "flow/udp.h"
#include "flow/worker.h"

#define UNDER_WAY_MAX 64 /* of one session; more are not answered */

struct question {
	struct dns_forward forward;
	struct list link; /* session->questions */
	struct udp_session *session;
};

static void answer(struct udp_session *s, const struct dns_query *query, const uint8_t *bytes,
		   size_t size)
{
	uint8_t cut[DNS_QUERY_MAX];
	struct datagram datagram = { .data = bytes, .len = size };

	if (size > query->udp_size) {
		datagram.data = cut;
		datagram.len = dns_query_truncate(query, cut);
	}
	s->used_ms = s->worker->loop.now_ms;
	udp_table_use(&s->worker->udp.table, &s->entry, true);
	udp_answer(s, &s->destination, &datagram, 1);
}

static void forget(struct question *question)
{
	list_unlink(&question->link);
	question->session->question_count--;
	free(question);
}

static void on_answer(struct dns_forward *forward, const struct dns_raw *raw)
{
	struct question *question = container_of(forward, struct question, forward);

	answer(question->session, &forward->query, raw->bytes, raw->size);
	forget(question);
}

void udp_dns_take(struct udp_session *s, const uint8_t *data, size_t len)
{
	struct worker *w = s->worker;
	uint8_t refusal[DNS_QUERY_MAX];
	struct question *question;
	struct dns_query *query;
	struct dns_raw raw;
	int r;

	question = s->question_count < UNDER_WAY_MAX ? calloc(1, sizeof(*question)) : NULL;
	if (!question) {
		udp_dropped(s, UDP_DROP_MEMORY, 1);
		return;
	}
	query = &question->forward.query;
	question->session = s;
	question->forward.done = on_answer;
	list_init(&question->link);
	list_append(&s->questions, &question->link);
	s->question_count++;
	if (dns_query_read(data, len, query)) {
		udp_dropped(s, UDP_DROP_REFUSED, 1);
		forget(question);
		return;
	}
	r = resolver_forward(w->dial_env.resolver, &question->forward,
			     dns_flow_server(w->config->rules, decide_meta(s->decide), query),
			     &raw);
	if (!r)
		return;
	if (r > 0)
		answer(s, query, raw.bytes, raw.size);
	else
		answer(s, query, refusal, dns_query_refuse(query, DNS_RCODE_SERVFAIL, refusal));
	forget(question);
}

void udp_dns_stop(struct udp_session *s)
{
	while (!list_empty(&s->questions)) {
		struct question *question = container_of(s->questions.next, struct question, link);

		resolver_forward_cancel(&question->forward);
		forget(question);
	}
}
