/* race - drives the rules of eyeballs.h: questions, one timer, a dial by @via for each attempt.
 *
 * Everything that happens ends in run(), which may find the race lost; only a child that succeeds wins it.
 * Children and questions are gone before the owner hears of the end.
 */
#include "dial/race.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "dial/eyeballs.h"
#include "dns/resolver.h"

struct race_question {
	struct race_dial *race;
	struct dns_ask ask;
	enum dns_type type;
	bool pending;
	int trace; /* its entry */
	int err;   /* what it came to */
};

struct race_child {
	struct race_dial *race;
	struct dial *dial; /* NULL: not running */
	enum dns_type family;
};

struct race_failure {
	int err; /* 0: none */
	const char *call;
};

struct race_dial {
	struct dial base;
	struct eyeballs eyeballs;
	struct timer timer;
	struct race_question questions[DNS_TYPE_COUNT];
	struct race_child children[EYEBALLS_ATTEMPTS_MAX]; /* by number of the attempt */
	struct race_failure last_failure[DNS_TYPE_COUNT];  /* of an attempt */
};

static const int status_errors[DNS_STATUS_COUNT] = {
	[DNS_NO_NAME] = -ENOENT,        [DNS_NO_DATA] = -ENOENT,    [DNS_SERVFAIL] = -EREMOTEIO,
	[DNS_REFUSED] = -EACCES,        [DNS_TIMEOUT] = -ETIMEDOUT, [DNS_MALFORMED] = -EBADMSG,
	[DNS_NO_SOCKET] = -ENETUNREACH, [DNS_BAD_NAME] = -EINVAL,   [DNS_NO_MEMORY] = -ENOMEM,
};

static const enum trace_step trace_steps[DNS_TYPE_COUNT] = {
	[DNS_A] = TRACE_A,
	[DNS_AAAA] = TRACE_AAAA,
};

static const struct race_dialer *dialer_of(const struct race_dial *r)
{
	return container_of(r->base.dialer, struct race_dialer, base);
}

static struct loop *loop_of(const struct race_dial *r)
{
	return r->base.request.env->loop;
}

static void close_question(struct race_question *q, int err, const char *why)
{
	q->pending = false;
	q->err = err;
	trace_end(q->race->base.request.trace, q->trace, err, why, loop_of(q->race)->now_ms);
}

static void take_answer(struct race_question *q, const struct dns_answer *answer)
{
	close_question(q, status_errors[answer->status], dns_status_names[answer->status]);
	eyeballs_answered(&q->race->eyeballs, q->type, answer->addrs,
			  answer->status == DNS_OK ? answer->count : 0, loop_of(q->race)->now_ms);
}

static void race_cancel(struct dial *dial, bool reset)
{
	struct race_dial *r = container_of(dial, struct race_dial, base);

	timer_stop(&r->timer, &loop_of(r)->timers);
	for (enum dns_type type = 0; type < DNS_TYPE_COUNT; type++) {
		if (!r->questions[type].pending)
			continue;
		resolver_cancel(&r->questions[type].ask);
		close_question(&r->questions[type], -ECANCELED, NULL);
	}
	for (unsigned i = 0; i < r->eyeballs.started; i++)
		dial_cancel(TAKE_PTR(r->children[i].dial), reset);
}

/* Attempts tell more than answers, and the preferred family more than the other. Without any attempt a broken
 * answer tells more than one that says no. */
static struct race_failure failure_of(const struct race_dial *r)
{
	enum dns_type preferred = eyeballs_preferred(dialer_of(r)->strategy);
	enum dns_type other = preferred == DNS_A ? DNS_AAAA : DNS_A;
	struct race_failure failure = { r->questions[preferred].err, "resolve" };

	if (r->last_failure[preferred].err)
		return r->last_failure[preferred];
	if (r->last_failure[other].err)
		return r->last_failure[other];
	if (r->questions[other].err && (!failure.err || failure.err == -ENOENT))
		failure.err = r->questions[other].err;
	return failure;
}

static void advance(struct race_dial *r);

static void note_failure(struct race_dial *r, unsigned attempt, int err, const char *call)
{
	r->last_failure[r->children[attempt].family] =
		(struct race_failure){ err, call ? call : "connect" };
	eyeballs_attempt_failed(&r->eyeballs, attempt);
}

static void on_child_done(void *owner, const struct dial_result *result)
{
	struct race_child *child = owner;
	struct race_dial *r = child->race;

	child->dial = NULL; /* frees itself */
	if (result->err) {
		note_failure(r, (unsigned)(child - r->children), result->err, result->call);
		advance(r);
		return;
	}
	race_cancel(&r->base, true); /* before the owner looks at the trace */
	dial_finish(&r->base, result);
}

static void start_child(struct race_dial *r, const struct eyeballs_next *next)
{
	struct race_child *child = &r->children[next->attempt];
	struct dial_request request = r->base.request;
	const char *call;
	int err;

	*child = (struct race_child){ .race = r, .family = next->family };
	request.target = (struct target){ .addr = next->addr };
	request.target.addr.port = r->base.request.target.addr.port;
	request.done = on_child_done;
	request.owner = child;
	err = dial_start(&child->dial, dialer_of(r)->via, &request, &call);
	if (err)
		note_failure(r, next->attempt, err, call);
}

static void start_timer(struct race_dial *r, uint64_t until_ms)
{
	struct timer_wheel *wheel = &loop_of(r)->timers;

	if (until_ms == UINT64_MAX)
		timer_stop(&r->timer, wheel);
	else /* timer_start() rounds up by 1 ms, which the rules do not ask for */
		timer_start(&r->timer, wheel, until_ms - wheel->now_ms - 1);
}

/* Everything that can start now is started. -errno: the race is lost, and base.call says by what. */
static int run(struct race_dial *r)
{
	struct eyeballs_next next;
	struct race_failure failure;

	while ((next = eyeballs_next(&r->eyeballs, loop_of(r)->now_ms)).verdict == EYEBALLS_START)
		start_child(r, &next);
	if (next.verdict == EYEBALLS_WAIT) {
		start_timer(r, next.until_ms);
		return 0;
	}
	failure = failure_of(r);
	assert(failure.err);
	r->base.call = failure.call;
	return failure.err;
}

static void advance(struct race_dial *r) /* @r may be gone on return */
{
	int err = run(r);

	if (err)
		dial_finish(&r->base, &(struct dial_result){ .err = err, .call = r->base.call });
}

static void on_timer(struct timer *timer)
{
	advance(container_of(timer, struct race_dial, timer));
}

static void on_answer(struct dns_ask *ask, const struct dns_answer *answer)
{
	struct race_question *q = container_of(ask, struct race_question, ask);

	take_answer(q, answer);
	advance(q->race);
}

static void ask(struct race_dial *r, enum dns_type type)
{
	const struct dial_request *request = &r->base.request;
	struct race_question *q = &r->questions[type];
	uint64_t now = loop_of(r)->now_ms;
	struct dns_answer answer;
	int n;

	*q = (struct race_question){ .race = r, .type = type, .ask.done = on_answer };
	q->trace = trace_begin(request->trace, trace_steps[type], &request->target.addr, "", now);
	n = resolver_ask(request->env->resolver, &q->ask, dialer_of(r)->server,
			 request->target.domain, type, &answer);
	if (n > 0) {
		take_answer(q, &answer);
	} else if (n < 0) {
		close_question(q, n, "resolve");
		eyeballs_answered(&r->eyeballs, type, NULL, 0, now);
	} else {
		q->pending = true;
	}
}

/* Who routed it has asked already. */
static void take_resolved(struct race_dial *r, enum dns_type type)
{
	const struct target *target = &r->base.request.target;
	sa_family_t family = type == DNS_A ? AF_INET : AF_INET6;
	struct addr addrs[DNS_ADDRS_MAX];
	unsigned count = 0;

	for (size_t i = 0; i < target->resolved_count && count < DNS_ADDRS_MAX; i++)
		if (target->resolved[i].family == family)
			addrs[count++] = target->resolved[i];
	r->questions[type] =
		(struct race_question){ .race = r, .type = type, .err = count ? 0 : -ENOENT };
	eyeballs_answered(&r->eyeballs, type, addrs, count, loop_of(r)->now_ms);
}

static int race_start(struct dial *dial)
{
	struct race_dial *r = container_of(dial, struct race_dial, base);
	const struct race_dialer *self = dialer_of(r);

	assert(dial->request.target.domain);
	if (!dial->request.env->resolver) {
		dial->call = "resolve";
		return -EADDRNOTAVAIL;
	}
	timer_init(&r->timer, on_timer);
	eyeballs_init(&r->eyeballs,
		      &(struct eyeballs_rules){ .strategy = self->strategy,
						.attempt_delay_ms = self->attempt_delay_ms,
						.fallback_delay_ms = self->fallback_delay_ms,
						.resolution_delay_ms = self->resolution_delay_ms,
						.serial = self->serial });
	for (int i = 0; i < DNS_TYPE_COUNT; i++) {
		enum dns_type type = i ? DNS_A : DNS_AAAA; /* AAAA first: RFC 8305 3 */

		if (!eyeballs_wants(self->strategy, type))
			continue;
		if (dial->request.target.resolved_count)
			take_resolved(r, type);
		else
			ask(r, type);
	}
	return run(r);
}

static const struct dialer *race_skip(const struct dialer *self, const struct dial_request *request)
{
	return request->target.domain ? self : container_of(self, struct race_dialer, base)->via;
}

static void race_free(struct dialer *self)
{
	free(container_of(self, struct race_dialer, base));
}

const struct dialer_ops dial_race_ops = {
	.name = "race",
	.dial_size = sizeof(struct race_dial),
	.start = race_start,
	.cancel = race_cancel,
	.skip = race_skip,
	.free = race_free,
};
