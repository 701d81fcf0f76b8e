#include "dns/forward.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "dns/cares.h"
#include "dns/exchange.h"
#include "dns/reverse.h"

#define FAILURE_TTL_S 1 /* as in reply.c */

struct exchange {
	struct list link; /* of a bucket, or of the finished */
	struct list waiting;
	struct dns_forwards *owner;
	struct dns_raw_key key;
	struct dns_query query; /* of the first who asked */
	bool finished;
	size_t size; /* of the answer, if finished; 0: there was no memory for it */
	uint8_t *message;
};

int dns_forwards_init(struct dns_forwards *forwards, struct loop *loop,
		      const struct hash_key *secret, const struct config_dns *config)
{
	*forwards = (struct dns_forwards){ .loop = loop,
					   .secret = *secret,
					   .strategy = config->strategy };
	list_init(&forwards->finished);
	for (size_t i = 0; i < EXCHANGE_BUCKETS; i++)
		list_init(&forwards->under_way[i]);
	forwards->answer = malloc(DNS_MESSAGE_MAX);
	return forwards->answer ? lru_init(&forwards->cache, config->cache_capacity) : -ENOMEM;
}

static void exchange_free(struct exchange *exchange)
{
	assert(list_empty(&exchange->waiting));
	list_unlink(&exchange->link);
	free(exchange->message);
	free(exchange);
}

void dns_forwards_deinit(struct dns_forwards *forwards)
{
	if (!forwards->loop)
		return;
	while (!list_empty(&forwards->finished))
		exchange_free(container_of(forwards->finished.next, struct exchange, link));
	lru_deinit(&forwards->cache);
	free(forwards->answer);
	*forwards = (struct dns_forwards){ 0 };
}

static struct dns_raw refuse(struct dns_forwards *forwards, const struct dns_query *query,
			     enum dns_rcode rcode)
{
	return (struct dns_raw){ .bytes = forwards->answer,
				 .size = dns_query_refuse(query, rcode, forwards->answer) };
}

/* What is in @forwards->answer becomes the answer to @query. */
static struct dns_raw fit(struct dns_forwards *forwards, const struct dns_query *query, size_t size)
{
	return (struct dns_raw){ .bytes = forwards->answer,
				 .size = dns_answer_fit(query, forwards->answer, size) };
}

static struct dns_raw answer_of(const struct exchange *exchange, const struct dns_query *query)
{
	if (!exchange->size)
		return refuse(exchange->owner, query, DNS_RCODE_SERVFAIL);
	memcpy(exchange->owner->answer, exchange->message, exchange->size);
	return fit(exchange->owner, query, exchange->size);
}

static void learn_names(struct dns_forwards *forwards, const struct dns_query *query,
			const uint8_t *message, size_t size)
{
	struct addr addrs[DNS_ADDRS_MAX];
	uint32_t ttl_s;
	size_t count;

	if (!forwards->reverse)
		return;
	count = dns_answer_addrs(message, size, addrs, DNS_ADDRS_MAX, &ttl_s);
	if (count)
		dns_reverse_put(forwards->reverse, addrs, count, query->name, ttl_s,
				forwards->loop->now_ms);
}

static bool is_left_out(const struct dns_forwards *forwards, const struct dns_query *query)
{
	if (query->class != DNS_CLASS_IN)
		return false;
	return (forwards->strategy == STRATEGY_IPV4_ONLY && query->type == DNS_RECORD_AAAA) ||
	       (forwards->strategy == STRATEGY_IPV6_ONLY && query->type == DNS_RECORD_A);
}

static int wait_for(struct exchange *exchange, struct dns_forward *forward)
{
	struct dns_forwards *forwards = exchange->owner;

	if (forwards->waiting == DNS_FORWARDS_MAX)
		return -EAGAIN;
	forwards->waiting++;
	forward->forwards = forwards;
	list_append(&exchange->waiting, &forward->link);
	return 0;
}

static struct exchange *find_under_way(struct dns_forwards *forwards, const struct dns_raw_key *key)
{
	list_for_each (pos, &forwards->under_way[key->hash % EXCHANGE_BUCKETS]) {
		struct exchange *exchange = container_of(pos, struct exchange, link);

		if (dns_raw_key_equal(&exchange->key, key))
			return exchange;
	}
	return NULL;
}

int dns_forwards_find(struct dns_forwards *forwards, struct dns_forward *forward, size_t server,
		      struct dns_raw *ret_now)
{
	const struct dns_query *query = &forward->query;
	struct exchange *exchange;
	struct dns_raw_key key;
	size_t size;

	list_init(&forward->link);
	forward->forwards = NULL;
	if (query->rcode || is_left_out(forwards, query)) {
		*ret_now = refuse(forwards, query, query->rcode);
		return 1;
	}
	dns_raw_key_init(&key, &forwards->secret, server, query);
	size = dns_raw_cache_get(&forwards->cache, &key, forwards->loop->now_ms, forwards->answer);
	if (size) {
		forwards->cache_hits++;
		learn_names(forwards, query, forwards->answer, size);
		*ret_now = fit(forwards, query, size);
		return 1;
	}
	exchange = find_under_way(forwards, &key);
	if (!exchange)
		return forwards->waiting == DNS_FORWARDS_MAX ? -EAGAIN : -ENOENT;
	forwards->coalesced++;
	return wait_for(exchange, forward);
}

int dns_forwards_tell(struct dns_forwards *forwards, struct dns_forward *forward,
		      const struct dns_answer *answer, struct dns_raw *ret_now)
{
	struct dns_query query = forward->query;
	size_t size;

	list_init(&forward->link);
	forward->forwards = NULL;
	query.edns = false; /* fit() adds that */
	size = dns_query_refuse(&query, DNS_RCODE_OK, forwards->answer);
	for (unsigned i = 0; i < answer->count && !is_left_out(forwards, &query); i++)
		size = dns_answer_add(forwards->answer, size, &answer->addrs[i], answer->ttl_s);
	learn_names(forwards, &query, forwards->answer, size);
	*ret_now = fit(forwards, &forward->query, size);
	return 1;
}

/* The status says little here: an answer with any rcode is one, and it is passed on. */
static void take_answer(struct exchange *exchange, const uint8_t *message, size_t size)
{
	uint8_t refusal[DNS_QUERY_MAX];

	if (message && size <= DNS_MESSAGE_MAX) {
		exchange->message = malloc(size + 1);
		if (!exchange->message)
			return;
		memcpy(exchange->message, message, size);
		if (!dns_answer_check(&exchange->query, exchange->message, size, &exchange->size))
			return;
		free(exchange->message);
	}
	exchange->query.edns = false;
	size = dns_query_refuse(&exchange->query, DNS_RCODE_SERVFAIL, refusal);
	exchange->message = malloc(size);
	if (!exchange->message)
		return;
	memcpy(exchange->message, refusal, size);
	exchange->size = size;
}

static void keep_answer(const struct exchange *exchange)
{
	struct dns_forwards *forwards = exchange->owner;
	const struct dns_raw raw = { .bytes = exchange->message, .size = exchange->size };
	unsigned rcode = dns_answer_rcode(raw.bytes);
	uint32_t ttl_s = FAILURE_TTL_S;

	if (dns_answer_truncated(raw.bytes))
		return;
	if (rcode == DNS_RCODE_OK || rcode == DNS_RCODE_NXDOMAIN)
		ttl_s = dns_answer_ttl(&exchange->query, raw.bytes, raw.size);
	else
		forwards->failures++;
	if (rcode == DNS_RCODE_OK)
		learn_names(forwards, &exchange->query, raw.bytes, raw.size);
	dns_raw_cache_put(&forwards->cache, &exchange->key, &raw, ttl_s, forwards->loop->now_ms);
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *message, int size)
{
	struct exchange *exchange = arg;

	exchange->finished = true;
	take_answer(exchange, status == ARES_SUCCESS ? message : NULL, size > 0 ? (size_t)size : 0);
	if (exchange->size)
		keep_answer(exchange);
	list_unlink(&exchange->link);
	list_append(&exchange->owner->finished, &exchange->link);
}

static struct exchange *exchange_new(struct dns_forwards *forwards, const struct dns_query *query,
				     size_t server)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));

	if (!exchange)
		return NULL;
	exchange->owner = forwards;
	exchange->query = *query;
	dns_raw_key_init(&exchange->key, &forwards->secret, server, query);
	list_init(&exchange->waiting);
	list_append(&forwards->under_way[exchange->key.hash % EXCHANGE_BUCKETS], &exchange->link);
	return exchange;
}

/* Whoever wants to answer in the server's place must not know it. */
static int random_id(uint16_t *ret)
{
	return getrandom(ret, sizeof(*ret), GRND_NONBLOCK) == sizeof(*ret) ? 0 : -EAGAIN;
}

int dns_forwards_ask(struct dns_forwards *forwards, struct dns_forward *forward, size_t server,
		     struct dns_channel *channel, struct dns_raw *ret_now)
{
	uint8_t message[DNS_QUERY_MAX];
	struct exchange *exchange;
	uint16_t id;
	int r = random_id(&id);

	if (r < 0)
		return r;
	exchange = exchange_new(forwards, &forward->query, server);
	if (!exchange)
		return -ENOMEM;
	forwards->questions++;
	dns_channel_send(channel, message, dns_query_write(&forward->query, id, message), on_answer,
			 exchange);
	if (!exchange->finished)
		return wait_for(exchange, forward);
	*ret_now = answer_of(exchange, &forward->query);
	exchange_free(exchange);
	return 1;
}

void resolver_forward_cancel(struct dns_forward *forward)
{
	if (!forward->forwards)
		return;
	forward->forwards->waiting--;
	forward->forwards = NULL;
	list_unlink(&forward->link);
}

static void tell(struct exchange *exchange)
{
	while (!list_empty(&exchange->waiting)) {
		struct dns_forward *forward = container_of(exchange->waiting.next,
							   struct dns_forward, link);
		struct dns_raw answer = answer_of(exchange, &forward->query);

		resolver_forward_cancel(forward);
		forward->done(forward, &answer);
	}
}

void dns_forwards_deliver(struct dns_forwards *forwards)
{
	while (!list_empty(&forwards->finished)) {
		struct exchange *exchange = container_of(forwards->finished.next, struct exchange,
							 link);

		list_unlink(&exchange->link);
		tell(exchange);
		exchange_free(exchange);
	}
}
