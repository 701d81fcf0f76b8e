/* fake_resolver - answers from a script, at once or by a timer. Defines resolver_ask() and
 * resolver_cancel(), so the real resolver is not linked; one test includes it, once. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "dns/resolver.h"

struct fake_answer {
	int refuse;        /* resolver_ask() says this, if it is not 0 */
	uint32_t delay_ms; /* 0: cached */
	enum dns_status status;
	unsigned count;
};

struct resolver {
	struct loop *loop;
	struct fake_answer script[DNS_TYPE_COUNT];
	unsigned asked, pending;
	char order[8]; /* "6": AAAA, "4": A, as they were asked */
};

struct fake_question {
	struct list link;
	struct timer timer;
	struct resolver *resolver;
	struct dns_ask *ask;
	struct dns_answer answer;
};

/* resolver_cancel() has the ask alone. */
static struct list fake_questions = LIST_INIT(fake_questions);

/* 127.0.0.1, .2 and so on; ::1, ::2 */
static inline struct addr fake_addr(enum dns_type type, unsigned number)
{
	struct addr addr = { .family = type == DNS_A ? AF_INET : AF_INET6 };

	if (type == DNS_A)
		addr.v4.s_addr = htonl(INADDR_LOOPBACK + number - 1);
	else
		addr.v6.s6_addr[15] = (uint8_t)number;
	return addr;
}

static inline struct dns_answer fake_answer(const struct resolver *resolver, enum dns_type type)
{
	const struct fake_answer *script = &resolver->script[type];
	struct dns_answer answer = { .status = script->status, .count = script->count, .ttl_s = 9 };

	for (unsigned i = 0; i < script->count; i++)
		answer.addrs[i] = fake_addr(type, i + 1);
	return answer;
}

static inline void fake_question_free(struct fake_question *question)
{
	timer_stop(&question->timer, &question->resolver->loop->timers);
	list_unlink(&question->link);
	question->resolver->pending--;
	free(question);
}

static inline void on_fake_answer(struct timer *timer)
{
	struct fake_question *question = container_of(timer, struct fake_question, timer);
	struct dns_answer answer = question->answer;
	struct dns_ask *ask = question->ask;

	fake_question_free(question);
	ask->done(ask, &answer);
	memset(&answer, 0xaa, sizeof(answer)); /* it was lent */
}

int resolver_ask(struct resolver *resolver, struct dns_ask *ask, size_t server, const char *name,
		 enum dns_type type, struct dns_answer *ret_now)
{
	const struct fake_answer *script = &resolver->script[type];
	struct fake_question *question;

	assert_int_equal(server, 3);
	assert_string_equal(name, "both.test");
	if (resolver->asked++ < sizeof(resolver->order) - 1)
		resolver->order[resolver->asked - 1] = type == DNS_A ? '4' : '6';
	if (script->refuse)
		return script->refuse;
	if (!script->delay_ms) {
		*ret_now = fake_answer(resolver, type);
		return 1;
	}
	question = calloc(1, sizeof(*question));
	assert_non_null(question);
	*question = (struct fake_question){ .resolver = resolver,
					    .ask = ask,
					    .answer = fake_answer(resolver, type) };
	list_init(&question->link);
	list_append(&fake_questions, &question->link);
	timer_init(&question->timer, on_fake_answer);
	timer_start(&question->timer, &resolver->loop->timers, script->delay_ms - 1);
	resolver->pending++;
	return 0;
}

void resolver_cancel(struct dns_ask *ask)
{
	list_for_each_safe (l, &fake_questions) {
		struct fake_question *question = container_of(l, struct fake_question, link);

		if (question->ask == ask)
			fake_question_free(question);
	}
}
