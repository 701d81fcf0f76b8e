#include "ctl/explain.h"
#include "flow/destination.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/facts.h"
#include "ctl/verdict.h"
#include "dial/eyeballs.h"

#define RESOLVE_LIMIT_MS 5000 /* less than a client may wait */

struct explain;

struct question {
	struct explain *explain;
	struct dns_ask ask;
	bool pending;
};

/* What flow/decide.c does for a flow, with facts instead of a socket. */
struct explain {
	struct task task;
	const struct ctl_context *context;
	struct facts facts;
	struct route_meta meta;
	struct route_verdict verdict;
	size_t from; /* the rule to go on with */
	bool sniffed, override, unresolved;
	struct question questions[DNS_TYPE_COUNT];
	struct addr resolved[DNS_TYPE_COUNT * DNS_ADDRS_MAX];
	const char *why; /* the last answer without an address */
	struct timer limit;
	json_t *steps; /* owned */
	int failed;    /* of memory; sticks */
};

static void explain_free(struct task *task)
{
	struct explain *e = container_of(task, struct explain, task);

	for (int type = 0; type < DNS_TYPE_COUNT; type++)
		if (e->questions[type].pending)
			resolver_cancel(&e->questions[type].ask);
	timer_stop(&e->limit, &e->context->loop->timers);
	json_decref(e->steps);
	free(e);
}

/* @result is taken over. */
static void add_step(struct explain *e, json_t *result)
{
	e->failed |= json_array_append_new(
		e->steps,
		json_pack("{s:I, s:s, s:o}", "rule", (json_int_t)e->verdict.rule, "action",
			  rule_action_names[e->verdict.action], "result", result));
}

static json_t *sniff(struct explain *e)
{
	const struct config_rule *rule = e->verdict.config;
	uint32_t sniffers = rule->sniff.protocols;
	const char *domain = e->facts.domain;

	e->override |= rule->sniff.override_destination;
	if (e->sniffed)
		return json_string("not done again");
	if (e->meta.network == CONFIG_NETWORK_TCP &&
	    destination_speaks_first(e->context->config, e->facts.destination.port))
		return json_sprintf("not done: on port %u the server speaks first",
				    (unsigned)e->facts.destination.port);
	e->sniffed = true;
	if (!e->facts.protocol && !*domain)
		return json_string("nothing");
	if (sniffers && e->facts.protocol && !(sniffers & 1U << e->facts.protocol))
		return json_sprintf("nothing: %s is not looked for",
				    protocol_names[e->facts.protocol]);
	e->meta.protocol = e->facts.protocol;
	if (*domain)
		e->meta.domain = domain;
	if (!e->facts.protocol)
		return json_string(domain);
	return json_sprintf("%s%s%s", protocol_names[e->facts.protocol], *domain ? " " : "",
			    domain);
}

static const char *name_to_dial(const struct explain *e)
{
	return destination_name(&e->verdict.options, e->override ? e->meta.domain : NULL);
}

static bool is_resolving(const struct explain *e)
{
	return e->questions[DNS_A].pending || e->questions[DNS_AAAA].pending;
}

static void take_answer(struct explain *e, const struct dns_answer *answer)
{
	if (answer->status != DNS_OK) {
		e->why = dns_status_names[answer->status];
		return;
	}
	memcpy(e->resolved + e->meta.resolved_count, answer->addrs,
	       answer->count * sizeof(*answer->addrs));
	e->meta.resolved_count += answer->count;
}

static void on_answer(struct dns_ask *ask, const struct dns_answer *answer);

static void ask(struct explain *e, const char *name, enum dns_type type)
{
	struct question *question = &e->questions[type];
	struct dns_answer answer;
	int r;

	*question = (struct question){ .explain = e, .ask.done = on_answer };
	r = resolver_ask(e->context->dial_env->resolver, &question->ask,
			 e->verdict.config->resolve.server, name, type, &answer);
	question->pending = r == 0;
	if (r > 0)
		take_answer(e, &answer);
	else if (r < 0)
		e->why = strerror(-r);
}

static enum domain_strategy strategy_of(const struct explain *e)
{
	return (enum domain_strategy)e->verdict.config->resolve.strategy;
}

static void begin_resolving(struct explain *e)
{
	const char *name = name_to_dial(e);

	e->meta.resolved_count = 0;
	e->why = "no address";
	for (int type = 0; name && e->context->dial_env && type < DNS_TYPE_COUNT; type++)
		if (eyeballs_wants(strategy_of(e), (enum dns_type)type))
			ask(e, name, (enum dns_type)type);
	if (is_resolving(e))
		timer_start(&e->limit, &e->context->loop->timers, RESOLVE_LIMIT_MS);
}

/* "example.org of local, prefer_ipv4: 192.0.2.1 192.0.2.2" */
static json_t *resolved_text(const struct explain *e, const char *name)
{
	const struct config_dns *dns = e->context->config->dns;
	char *text = NULL, address[ADDR_STRLEN];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	json_t *value;

	if (!out)
		return NULL;
	fprintf(out, "%s of %s, %s:", name, dns->servers[e->verdict.config->resolve.server].tag,
		domain_strategy_names[strategy_of(e)]);
	for (size_t i = 0; i < e->meta.resolved_count; i++) {
		addr_format(&e->resolved[i], address);
		address[strlen(address) - 2] = 0; /* ":0" */
		fprintf(out, " %s", address);
	}
	if (!e->context->dial_env)
		fputs(" is not asked here", out);
	else if (!e->meta.resolved_count)
		fprintf(out, " %s", e->why);
	fclose(out);
	value = text ? json_string(text) : NULL;
	free(text);
	return value;
}

/* A name that has no address ends a flow, whatever the rules after say. */
static void end_resolving(struct explain *e)
{
	const char *name = name_to_dial(e);

	timer_stop(&e->limit, &e->context->loop->timers);
	add_step(e, name ? resolved_text(e, name) : json_string("no name to resolve"));
	e->unresolved = name && e->context->dial_env && !e->meta.resolved_count;
}

/* Whether all is known; else on_answer() or the limit goes on. */
static bool advance(struct explain *e)
{
	while (!e->unresolved) {
		route_decide(e->context->config->rules, &e->meta, e->from, &e->verdict);
		e->from = e->verdict.rule + 1;
		if (e->verdict.action == ACTION_SNIFF) {
			add_step(e, sniff(e));
		} else if (e->verdict.action == ACTION_RESOLVE) {
			begin_resolving(e);
			if (is_resolving(e))
				return false;
			end_resolving(e);
		} else {
			break;
		}
	}
	return true;
}

static void resolved(struct explain *e)
{
	end_resolving(e);
	if (advance(e))
		e->task.done(e->task.owner);
}

static void on_answer(struct dns_ask *ask, const struct dns_answer *answer)
{
	struct question *question = container_of(ask, struct question, ask);
	struct explain *e = question->explain;

	question->pending = false;
	take_answer(e, answer);
	if (!is_resolving(e))
		resolved(e);
}

static void on_limit(struct timer *timer)
{
	struct explain *e = container_of(timer, struct explain, limit);

	for (int type = 0; type < DNS_TYPE_COUNT; type++) {
		if (!e->questions[type].pending)
			continue;
		resolver_cancel(&e->questions[type].ask);
		e->questions[type].pending = false;
		e->why = "no answer within 5 s";
	}
	resolved(e);
}

static void init_meta(struct explain *e)
{
	const struct facts *facts = &e->facts;

	e->meta = (struct route_meta){ .inbound = facts->inbound,
				       .network = facts->network,
				       .source = facts->source,
				       .destination = facts->destination,
				       .resolved = e->resolved,
				       .interface = *facts->interface ? facts->interface : NULL,
				       .mark = facts->mark,
				       .dscp = facts->dscp };
}

int explain_begin(struct call *call)
{
	const struct flow_config *config = call->context->config;
	struct facts facts;
	struct explain *e;

	if (facts_take(call, &facts))
		return -EINVAL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return call_fail(call, "out of memory");
	e->task.free = explain_free;
	e->context = call->context;
	e->facts = facts;
	e->steps = json_array();
	timer_init(&e->limit, on_limit);
	init_meta(e);
	call->task = &e->task;
	if (config->rules)
		return advance(e);
	e->verdict = (struct route_verdict){ .action = ACTION_ROUTE,
					     .outbound = config->config->final_outbound };
	return 1;
}

static json_t *target_text(const struct explain *e)
{
	const struct target *override =
		&e->context->config->outbounds[e->verdict.outbound].override;
	struct target target = destination_target(&e->verdict.options, name_to_dial(e), override,
						  &e->facts.destination);
	char text[ADDR_STRLEN];

	if (target.domain)
		return json_sprintf("%s:%u", target.domain, (unsigned)target.addr.port);
	return json_string(addr_format(&target.addr, text));
}

static json_t *describe(const struct explain *e, json_int_t rule, const char *action)
{
	const struct flow_config *config = e->context->config;
	bool routes = e->verdict.action == ACTION_ROUTE && !e->unresolved;
	size_t outbound = e->verdict.outbound;

	return json_pack("{s:O, s:I, s:s, s:s, s:o, s:o, s:o, s:o}", "steps", e->steps, "rule",
			 rule, "action", action, "outbound",
			 routes ? config->outbounds[outbound].tag : "", "chain",
			 routes ? verdict_chain(config, outbound) : json_array(), "options",
			 verdict_options(&e->verdict.options), "target",
			 routes ? target_text(e) : json_string(""), "sockets",
			 routes ? verdict_sockets(config, outbound) : json_object());
}

int explain_run(struct call *call, struct out *out)
{
	const struct explain *e = container_of(call->task, struct explain, task);
	const struct config_rule *rule = e->verdict.config;
	const char *action = e->unresolved ? "unresolved" : rule_action_names[e->verdict.action];
	json_t *answer = describe(e, rule ? (json_int_t)e->verdict.rule : -1, action);

	if (answer && rule && !e->unresolved && rule->action == ACTION_REJECT &&
	    json_object_set_new(answer, "method", json_string(reject_method_names[rule->reject]))) {
		json_decref(answer);
		answer = NULL;
	}
	if (!answer || e->failed) {
		json_decref(answer);
		return call_fail(call, "out of memory");
	}
	out_json(out, answer);
	json_decref(answer);
	return 0;
}
