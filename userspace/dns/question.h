/* question - what is being asked, and who waits for it.
 *
 * A question is first under way, found by its key, and then finished: nobody joins it any more, and
 * its asks wait for dns_questions_deliver(). So an ask's callback may do anything to any ask.
 */
#pragma once
#include "dns/key.h"

#define QUESTION_BUCKETS 256

struct dns_questions {
	struct list under_way[QUESTION_BUCKETS];
	struct list finished;
};

struct dns_question {
	struct list link; /* of a bucket, or of the finished */
	struct list asks;
	struct dns_key key;
	bool finished;
	struct dns_answer answer; /* if finished */
	void *owner;
};

void dns_questions_init(struct dns_questions *questions);
void dns_questions_deinit(struct dns_questions *questions); /* all are finished, without asks */
struct dns_question *dns_questions_find(struct dns_questions *questions, const struct dns_key *key);
/* Under way, without asks. NULL: out of memory. */
struct dns_question *dns_question_new(struct dns_questions *questions, const struct dns_key *key,
				      void *owner);
void dns_question_free(struct dns_question *question);
/* @question->answer is there. */
void dns_question_finish(struct dns_questions *questions, struct dns_question *question);
/* Tells the asks of what is finished, and frees it. Not from within c-ares. */
void dns_questions_deliver(struct dns_questions *questions);
