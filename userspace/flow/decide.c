#include "flow/decide.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "base/names.h"
#include "dial/eyeballs.h"
#include "flow/destination.h"
#include "flow/udp_held.h"
#include "flow/worker.h"
#include "kern/neighbour.h"
#include "net/sock.h"

#define RESOLVE_MS      5000 /* for an answer at all */
#define OTHER_FAMILY_MS 300  /* for the second, once there is an address */

struct decide {
	struct decide_request request;
	struct route_meta meta;
	struct route_verdict verdict;
	size_t from; /* the rule to go on with */
	struct sniff sniff;
	uint32_t sniffers;
	struct sniff_datagrams *datagrams; /* what QUIC has told so far; owned */
	size_t looked_at;                  /* of the datagrams that are held */
	bool sniffing, sniffed, time_is_up, override;
	const char *why; /* what DNS said instead of addresses */
	struct question {
		struct decide *decide;
		struct dns_ask ask;
		bool pending;
	} questions[DNS_TYPE_COUNT];
	struct addr resolved[DNS_TYPE_COUNT * DNS_ADDRS_MAX];
	struct strategy strategy;
	char interface[IFNAMSIZ];
	uint8_t mac[NEIGHBOUR_MAC_BYTES];
	char name
		[SNIFF_DOMAIN_MAX]; /* that the client asked the destination's address for; "": not known */
};

static void learn_incoming(struct decide *d)
{
	const struct route_needs needs = d->request.worker->config->needs;
	const struct netif_list *interfaces = d->request.worker->dial_env.interfaces;
	const struct netif *netif;
	const struct stream *client = d->request.client;
	int index = d->request.interface;

	d->meta.dscp = d->request.dscp;
	if (client && (needs.interface || needs.dscp || needs.source_mac))
		sock_incoming(client->fd, d->request.source.family, &index, &d->meta.dscp);
	netif = index ? netif_by_index(interfaces, index) : NULL;
	if (netif) {
		memcpy(d->interface, netif->name, sizeof(d->interface));
		d->meta.interface = d->interface;
	}
	if (needs.source_mac && index &&
	    !neighbour_mac(&d->request.worker->routes, index, &d->request.source, d->mac))
		d->meta.source_mac = d->mac;
	if (needs.mark && client)
		d->meta.mark = sock_mark(client->fd);
}

int decide_new(struct decide **ret, const struct decide_request *request)
{
	const struct flow_config *config = request->worker->config;
	struct decide *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->request = *request;
	d->meta = (struct route_meta){ .inbound = (size_t)(request->inbound - config->inbounds),
				       .network = request->client ? CONFIG_NETWORK_TCP
								  : CONFIG_NETWORK_UDP,
				       .source = request->source,
				       .destination = request->destination,
				       .resolved = d->resolved };
	learn_incoming(d);
	if (resolver_name_of(request->worker->dial_env.resolver, &request->destination, d->name))
		d->meta.domain = d->name;
	*ret = d;
	return 0;
}

static void stop_resolving(struct decide *d);

void decide_free(struct decide *d)
{
	if (!d)
		return;
	stop_resolving(d);
	sniff_datagrams_free(d->datagrams);
	free(d);
}

/* Sniffed once, a connection is known. */
static void begin_sniffing(struct decide *d)
{
	const struct config_rule *rule = d->verdict.config;

	d->override |= rule->sniff.override_destination;
	if (d->sniffed ||
	    (d->request.client &&
	     destination_speaks_first(d->request.worker->config, d->request.destination.port)))
		return;
	d->sniffing = true;
	d->time_is_up = false;
	d->sniffers = rule->sniff.protocols;
	timer_start(d->request.timer, &d->request.worker->loop.timers, rule->sniff.timeout_ms);
}

static void end_sniffing(struct decide *d)
{
	d->sniffing = false;
	d->sniffed = true;
	timer_stop(d->request.timer, &d->request.worker->loop.timers);
	d->meta.protocol = d->sniff.protocol;
	if (d->sniff.domain[0])
		d->meta.domain = d->sniff.domain;
}

/* Each datagram once, those to the session's first destination. */
static enum decide_result look_at_datagrams(struct decide *d)
{
	enum sniff_result result = SNIFF_MORE;
	const struct held_datagram *held;

	while (result == SNIFF_MORE &&
	       (held = udp_held_get(d->request.held, d->looked_at)) != NULL) {
		d->looked_at++;
		if (addr_equal(&held->destination, &d->request.destination))
			result = sniff_datagram(&d->datagrams, held->data, held->len, d->sniffers,
						&d->sniff);
	}
	if (result == SNIFF_MORE && !d->time_is_up && !udp_held_is_full(d->request.held))
		return DECIDE_WAIT;
	if (result != SNIFF_YES)
		d->sniff = (struct sniff){ 0 };
	end_sniffing(d);
	return DECIDE_DONE;
}

/* What is there is looked at again from its beginning whenever there is more: at most 16 KiB. */
static enum decide_result look_at_stream(struct decide *d)
{
	struct stream *client = d->request.client;
	uint8_t *data = d->request.worker->relay_env.scratch;
	ssize_t n = recv(client->fd, data, SNIFF_STREAM_MAX, MSG_PEEK);
	enum sniff_result result = SNIFF_MORE;

	if (n == 0 || (n < 0 && errno != EAGAIN))
		return DECIDE_GONE;
	if (n > 0)
		result = sniff_stream(data, (size_t)n, d->sniffers, &d->sniff);
	if (result == SNIFF_MORE && !d->time_is_up && n < SNIFF_STREAM_MAX &&
	    !(client->io.have & EPOLLRDHUP)) {
		loop_io_drained(&client->io, EPOLLIN); /* more is a new edge */
		return DECIDE_WAIT;
	}
	if (result != SNIFF_YES)
		d->sniff = (struct sniff){ 0 };
	if (n > 0) /* it is all still there, and no new edge will say so */
		client->io.have |= EPOLLIN;
	end_sniffing(d);
	return DECIDE_DONE;
}

static const char *name_to_dial(const struct decide *d)
{
	const char *sniffed = d->override && d->sniff.domain[0] ? d->sniff.domain : NULL;

	return destination_name(&d->verdict.options, sniffed);
}

static void take_answer(struct decide *d, const struct dns_answer *answer)
{
	if (answer->status != DNS_OK) {
		if (answer->status != DNS_NO_DATA || !d->why)
			d->why = dns_status_names[answer->status];
		return;
	}
	memcpy(d->resolved + d->meta.resolved_count, answer->addrs,
	       answer->count * sizeof(*answer->addrs));
	d->meta.resolved_count += answer->count;
}

static bool is_resolving(const struct decide *d)
{
	return d->questions[DNS_A].pending || d->questions[DNS_AAAA].pending;
}

static void on_answer(struct dns_ask *ask, const struct dns_answer *answer)
{
	struct question *question = container_of(ask, struct question, ask);
	struct decide *d = question->decide;

	question->pending = false;
	take_answer(d, answer);
	if (!is_resolving(d)) {
		timer_stop(d->request.timer, &d->request.worker->loop.timers);
		d->request.wake(d->request.owner);
	} else if (d->meta.resolved_count) { /* the other family may be slow */
		timer_start(d->request.timer, &d->request.worker->loop.timers, OTHER_FAMILY_MS);
	}
}

static void stop_resolving(struct decide *d)
{
	for (int type = 0; type < DNS_TYPE_COUNT; type++) {
		if (d->questions[type].pending)
			resolver_cancel(&d->questions[type].ask);
		d->questions[type].pending = false;
	}
	if (!d->why)
		d->why = dns_status_names[DNS_TIMEOUT];
}

static void begin_resolving(struct decide *d)
{
	const struct config_rule *rule = d->verdict.config;
	enum domain_strategy strategy = (enum domain_strategy)rule->resolve.strategy;
	const char *name = name_to_dial(d);

	d->meta.resolved_count = 0;
	d->time_is_up = false;
	d->why = NULL;
	for (int type = 0; name && type < DNS_TYPE_COUNT; type++) {
		struct question *question = &d->questions[type];
		struct dns_answer answer;
		int r;

		if (!eyeballs_wants(strategy, (enum dns_type)type))
			continue;
		*question = (struct question){ .decide = d, .ask.done = on_answer };
		r = resolver_ask(d->request.worker->dial_env.resolver, &question->ask,
				 rule->resolve.server, name, (enum dns_type)type, &answer);
		question->pending = r == 0;
		if (r > 0)
			take_answer(d, &answer);
	}
	if (is_resolving(d))
		timer_start(d->request.timer, &d->request.worker->loop.timers, RESOLVE_MS);
}

/* A name that has no address cannot be reached, whatever the rules after say. */
static bool failed_to_resolve(const struct decide *d)
{
	return d->verdict.action == ACTION_RESOLVE && name_to_dial(d) && !d->meta.resolved_count;
}

enum decide_result decide_run(struct decide *d)
{
	for (;;) {
		if (d->sniffing) {
			enum decide_result result = d->request.client ? look_at_stream(d)
								      : look_at_datagrams(d);

			if (result != DECIDE_DONE)
				return result;
		}
		if (is_resolving(d) && d->time_is_up)
			stop_resolving(d);
		if (is_resolving(d))
			return DECIDE_WAIT;
		if (failed_to_resolve(d))
			return DECIDE_UNRESOLVED;
		route_decide(d->request.worker->config->rules, &d->meta, d->from, &d->verdict);
		d->from = d->verdict.rule + 1;
		if (d->verdict.action == ACTION_SNIFF)
			begin_sniffing(d);
		else if (d->verdict.action == ACTION_RESOLVE)
			begin_resolving(d);
		else
			break;
	}
	d->strategy.kind = d->verdict.options.network_strategy;
	return DECIDE_DONE;
}

void decide_time_up(struct decide *d)
{
	d->time_is_up = true;
}

const struct route_meta *decide_meta(const struct decide *d)
{
	return &d->meta;
}

const char *decide_unresolved(const struct decide *d, const char **ret_name)
{
	*ret_name = name_to_dial(d);
	return d->why ? d->why : dns_status_names[DNS_NO_DATA];
}

const struct route_verdict *decide_verdict(const struct decide *d)
{
	return &d->verdict;
}

const struct sniff *decide_sniffed(const struct decide *d)
{
	return &d->sniff;
}

struct target decide_target(const struct decide *d, const struct target *override,
			    const struct addr *destination)
{
	const char *name = d ? name_to_dial(d) : NULL;
	struct target target = destination_target(d ? &d->verdict.options : NULL, name, override,
						  destination);

	if (name && d->meta.resolved_count) {
		target.resolved = d->resolved;
		target.resolved_count = d->meta.resolved_count;
	}
	return target;
}

const struct strategy *decide_strategy(const struct decide *d)
{
	return d->verdict.options.has_network_strategy ? &d->strategy : NULL;
}
