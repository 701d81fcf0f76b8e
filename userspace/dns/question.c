#include "dns/question.h"
#include <assert.h>
#include <stdlib.h>

void dns_questions_init(struct dns_questions *questions)
{
	for (size_t i = 0; i < QUESTION_BUCKETS; i++)
		list_init(&questions->under_way[i]);
	list_init(&questions->finished);
}

void dns_questions_deinit(struct dns_questions *questions)
{
	for (size_t i = 0; i < QUESTION_BUCKETS; i++)
		assert(list_empty(&questions->under_way[i]));
	while (!list_empty(&questions->finished))
		dns_question_free(
			container_of(questions->finished.next, struct dns_question, link));
}

static struct list *bucket(struct dns_questions *questions, const struct dns_key *key)
{
	return &questions->under_way[key->hash % QUESTION_BUCKETS];
}

struct dns_question *dns_questions_find(struct dns_questions *questions, const struct dns_key *key)
{
	list_for_each (pos, bucket(questions, key)) {
		struct dns_question *question = container_of(pos, struct dns_question, link);

		if (dns_key_equal(&question->key, key))
			return question;
	}
	return NULL;
}

struct dns_question *dns_question_new(struct dns_questions *questions, const struct dns_key *key,
				      void *owner)
{
	struct dns_question *question = calloc(1, sizeof(*question));

	if (!question)
		return NULL;
	question->key = *key;
	question->owner = owner;
	list_init(&question->asks);
	list_append(bucket(questions, key), &question->link);
	return question;
}

void dns_question_free(struct dns_question *question)
{
	assert(list_empty(&question->asks));
	list_unlink(&question->link);
	free(question);
}

void dns_question_finish(struct dns_questions *questions, struct dns_question *question)
{
	question->finished = true;
	list_unlink(&question->link);
	list_append(&questions->finished, &question->link);
}

static void tell(struct dns_question *question)
{
	while (!list_empty(&question->asks)) {
		struct dns_ask *ask = container_of(question->asks.next, struct dns_ask, link);

		list_unlink(&ask->link);
		ask->done(ask, &question->answer);
	}
}

void dns_questions_deliver(struct dns_questions *questions)
{
	while (!list_empty(&questions->finished)) {
		struct dns_question *question = container_of(questions->finished.next,
							     struct dns_question, link);

		list_unlink(&question->link);
		tell(question);
		dns_question_free(question);
	}
}

void resolver_cancel(struct dns_ask *ask)
{
	if (ask->link.next)
		list_unlink(&ask->link);
}
