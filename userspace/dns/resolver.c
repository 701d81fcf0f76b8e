#include "dns/resolver.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include "dns/cache.h"
#include "dns/channel.h"
#include "dns/exchange.h"
#include "dns/hosts.h"
#include "dns/question.h"
#include "dns/reply.h"
#include "dns/reverse.h"
#include "dns/tuned.h"

/* Asked after 0, 1 and 3 s, given up after 7: c-ares 1.18 doubles the time with each try. */
#define TRIES         3
#define TIMEOUT_MS    1000
#define LOCALHOST_TTL 86400
#define HOSTS         "/etc/hosts"

struct server {
	struct dns_channel *channel;
	struct dns_channel *old; /* of the resolv.conf before, until its questions are answered */
	struct dns_hosts *hosts; /* of type local; NULL: of another */
};

struct resolver {
	struct loop *loop;
	struct hash_key secret;
	struct lru cache;
	struct dns_questions questions;
	struct dns_forwards forwards;
	struct timer deliver; /* what finished while another was asked */
	struct resolver_stats stats;
	size_t server_count;
	struct server servers[];
};

static void after_work(void *ctx)
{
	struct resolver *resolver = ctx;

	for (size_t i = 0; i < resolver->server_count; i++) {
		struct server *server = &resolver->servers[i];

		if (server->old && dns_channel_idle(server->old)) {
			dns_channel_free(server->old);
			server->old = NULL;
		}
	}
	dns_questions_deliver(&resolver->questions);
	dns_forwards_deliver(&resolver->forwards);
}

static void on_deliver(struct timer *timer)
{
	after_work(container_of(timer, struct resolver, deliver));
}

static int add_servers(struct resolver *resolver, const struct config_dns *config,
		       struct dns_channel_options *options)
{
	for (size_t i = 0; i < config->server_count; i++) {
		int r;

		options->server = i;
		options->type = config->servers[i].type;
		options->addr = config->servers[i].server;
		r = dns_channel_new(&resolver->servers[i].channel, options);
		if (r < 0)
			return r;
		resolver->server_count++;
		if (options->type == DNS_SERVER_LOCAL)
			r = dns_hosts_new(&resolver->servers[i].hosts,
					  options->tuning.hosts ? options->tuning.hosts : HOSTS);
		if (r < 0)
			return r;
	}
	return 0;
}

int resolver_new_tuned(struct resolver **ret, struct loop *loop, const struct config_dns *config,
		       dns_socket_fn *open, void *ctx, const struct dns_tuning *tuning)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver) +
						      config->server_count * sizeof(struct server));
	struct dns_channel_options options = { .loop = loop,
					       .open = open,
					       .open_ctx = ctx,
					       .tuning = *tuning,
					       .after = after_work,
					       .after_ctx = resolver };
	int r;

	if (!resolver)
		return -ENOMEM;
	resolver->loop = loop;
	timer_init(&resolver->deliver, on_deliver);
	dns_questions_init(&resolver->questions);
	hash_key_init(&resolver->secret);
	r = lru_init(&resolver->cache, config->cache_capacity);
	if (!r)
		r = dns_forwards_init(&resolver->forwards, loop, &resolver->secret, config);
	if (!r)
		r = add_servers(resolver, config, &options);
	if (r < 0) {
		resolver_free(resolver);
		return r;
	}
	*ret = resolver;
	return 0;
}

int resolver_new(struct resolver **ret, struct loop *loop, const struct config_dns *config,
		 dns_socket_fn *open, void *ctx)
{
	static const struct dns_tuning tuning = { .tries = TRIES, .timeout_ms = TIMEOUT_MS };

	return resolver_new_tuned(ret, loop, config, open, ctx, &tuning);
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	for (size_t i = 0; i < resolver->server_count; i++) {
		dns_channel_free(resolver->servers[i].old);
		dns_channel_free(resolver->servers[i].channel);
		dns_hosts_free(resolver->servers[i].hosts);
	}
	timer_stop(&resolver->deliver, &resolver->loop->timers);
	dns_questions_deinit(&resolver->questions);
	dns_forwards_deinit(&resolver->forwards);
	lru_deinit(&resolver->cache);
	free(resolver);
}

void resolver_set_reverse(struct resolver *resolver, struct dns_reverse *reverse)
{
	resolver->forwards.reverse = reverse;
}

bool resolver_name_of(struct resolver *resolver, const struct addr *addr, char *ret_name)
{
	struct dns_reverse *reverse = resolver->forwards.reverse;

	return reverse && dns_reverse_get(reverse, addr, resolver->loop->now_ms, ret_name);
}

static bool is_failure(enum dns_status status)
{
	return status != DNS_OK && status != DNS_NO_NAME && status != DNS_NO_DATA;
}

static void on_reply(void *arg, int status, int timeouts, unsigned char *message, int size)
{
	struct dns_question *question = arg;
	struct resolver *resolver = question->owner;

	dns_reply_read(status, question->key.type, message, message ? (size_t)size : 0,
		       &question->answer);
	if (is_failure(question->answer.status))
		resolver->stats.failures++;
	else if (resolver->forwards.reverse)
		dns_reverse_put(resolver->forwards.reverse, question->answer.addrs,
				question->answer.count, question->key.name, question->answer.ttl_s,
				resolver->loop->now_ms);
	dns_cache_put(&resolver->cache, &question->key, &question->answer, resolver->loop->now_ms);
	dns_question_finish(&resolver->questions, question);
}

/* A file that cannot be read now was read once: better the servers of that time than none. */
static void renew(struct server *server)
{
	struct dns_channel *fresh;

	if (server->old || dns_channel_renew(server->channel, &fresh) <= 0)
		return;
	server->old = server->channel;
	server->channel = fresh;
}

/* Asking may have finished other questions. */
static void deliver_later(struct resolver *resolver)
{
	if (!list_empty(&resolver->questions.finished) || !list_empty(&resolver->forwards.finished))
		timer_start(&resolver->deliver, &resolver->loop->timers, 0);
}

/* As resolver_ask(). */
static int ask_server(struct resolver *resolver, struct dns_ask *ask, const struct dns_key *key,
		      struct dns_answer *ret_now)
{
	struct server *server = &resolver->servers[key->server];
	struct dns_question *question = dns_question_new(&resolver->questions, key, resolver);
	int r = 0;

	if (!question)
		return -ENOMEM;
	resolver->stats.questions++;
	renew(server);
	dns_channel_ask(server->channel, key->name, key->type, on_reply, question);
	if (question->finished) {
		*ret_now = question->answer;
		dns_question_free(question);
		r = 1;
	} else {
		list_append(&question->asks, &ask->link);
	}
	deliver_later(resolver);
	return r;
}

/* @query is for an address of a name of /etc/hosts, which knows better than @server. */
static bool is_in_hosts(const struct resolver *resolver, const struct dns_query *query,
			size_t server, struct dns_answer *ret)
{
	struct dns_hosts *hosts = resolver->servers[server].hosts;
	enum dns_type type = query->type == DNS_RECORD_A ? DNS_A : DNS_AAAA;
	struct dns_key key;

	if (!hosts || query->rcode || query->class != DNS_CLASS_IN ||
	    (query->type != DNS_RECORD_A && query->type != DNS_RECORD_AAAA))
		return false;
	return !dns_key_init(&key, &resolver->secret, server, query->name, type) &&
	       dns_hosts_get(hosts, &key, ret);
}

int resolver_forward(struct resolver *resolver, struct dns_forward *forward, size_t server,
		     struct dns_raw *ret_now)
{
	struct dns_answer answer;
	int r;

	assert(server < resolver->server_count);
	if (is_in_hosts(resolver, &forward->query, server, &answer))
		return dns_forwards_tell(&resolver->forwards, forward, &answer, ret_now);
	r = dns_forwards_find(&resolver->forwards, forward, server, ret_now);
	if (r != -ENOENT)
		return r;
	renew(&resolver->servers[server]);
	r = dns_forwards_ask(&resolver->forwards, forward, server,
			     resolver->servers[server].channel, ret_now);
	deliver_later(resolver);
	return r;
}

static void answer_localhost(enum dns_type type, struct dns_answer *ret)
{
	*ret = (struct dns_answer){ .status = DNS_OK, .count = 1, .ttl_s = LOCALHOST_TTL };
	if (type == DNS_A)
		ret->addrs[0] = (struct addr){ .family = AF_INET,
					       .v4.s_addr = htonl(INADDR_LOOPBACK) };
	else
		ret->addrs[0] = (struct addr){ .family = AF_INET6, .v6 = IN6ADDR_LOOPBACK_INIT };
}

int resolver_ask(struct resolver *resolver, struct dns_ask *ask, size_t server, const char *name,
		 enum dns_type type, struct dns_answer *ret_now)
{
	struct dns_question *question;
	struct dns_hosts *hosts;
	struct dns_key key;

	assert(server < resolver->server_count);
	hosts = resolver->servers[server].hosts;
	list_init(&ask->link);
	if (dns_key_init(&key, &resolver->secret, server, name, type) < 0) {
		*ret_now = (struct dns_answer){ .status = DNS_BAD_NAME };
		return 1;
	}
	if (dns_key_is_localhost(&key)) {
		answer_localhost(type, ret_now);
		return 1;
	}
	if (hosts && dns_hosts_get(hosts, &key, ret_now))
		return 1;
	if (dns_cache_get(&resolver->cache, &key, resolver->loop->now_ms, ret_now)) {
		resolver->stats.cache_hits++;
		return 1;
	}
	question = dns_questions_find(&resolver->questions, &key);
	if (!question)
		return ask_server(resolver, ask, &key, ret_now);
	resolver->stats.coalesced++;
	list_append(&question->asks, &ask->link);
	return 0;
}

void resolver_stats(const struct resolver *resolver, struct resolver_stats *ret)
{
	const struct dns_forwards *forwards = &resolver->forwards;

	*ret = resolver->stats;
	ret->questions += forwards->questions;
	ret->cache_hits += forwards->cache_hits;
	ret->coalesced += forwards->coalesced;
	ret->failures += forwards->failures;
	ret->cached = resolver->cache.count + forwards->cache.count;
}
