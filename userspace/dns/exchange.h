/* exchange - the forwarded questions of a resolver: what is under way, who waits for it, and what is known.
 *
 * As in question.h: an exchange is first under way, found by its key, and then finished, and those who wait
 * are told when c-ares is left.
 */
#pragma once
#include "base/hash.h"
#include "dns/channel.h"
#include "dns/forward.h"

#define EXCHANGE_BUCKETS 256

struct dns_reverse;

struct dns_forwards {
	struct loop *loop;
	struct hash_key secret;
	enum domain_strategy strategy;
	struct dns_reverse *reverse; /* NULL: not wanted */
	size_t waiting;
	struct list under_way[EXCHANGE_BUCKETS];
	struct list finished;
	struct lru cache; /* of whole answers, raw_cache.h */
	uint8_t *answer;  /* DNS_MESSAGE_MAX bytes: what is told last */
	uint64_t questions, cache_hits, coalesced, failures;
};

int dns_forwards_init(struct dns_forwards *forwards, struct loop *loop,
		      const struct hash_key *secret, const struct config_dns *config); /* -ENOMEM */
/* All are finished, nobody waits. Zeroed is fine. */
void dns_forwards_deinit(struct dns_forwards *forwards);
/* As resolver_forward(); -ENOENT: it must be asked. */
int dns_forwards_find(struct dns_forwards *forwards, struct dns_forward *forward, size_t server,
		      struct dns_raw *ret_now);
/* As resolver_forward(): the answer is there without a question. */
int dns_forwards_tell(struct dns_forwards *forwards, struct dns_forward *forward,
		      const struct dns_answer *answer, struct dns_raw *ret_now);
/* As resolver_forward(). */
int dns_forwards_ask(struct dns_forwards *forwards, struct dns_forward *forward, size_t server,
		     struct dns_channel *channel, struct dns_raw *ret_now);
/* Tells those who wait for what is finished. Not from within c-ares. */
void dns_forwards_deliver(struct dns_forwards *forwards);
