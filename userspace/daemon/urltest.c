#include "daemon/urltest.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "base/log.h"
#include "dial/group.h"
#include "flow/probe.h"

struct tested;

struct member {
	struct tested *group;
	size_t outbound;
	struct probe *probe; /* under way; NULL: none */
	unsigned delay_ms;   /* of the last one; 0: not known, URLTEST_FAILED */
};

struct tested {
	struct urltest *urltest;
	size_t outbound;
	const char *tag;
	const struct config_group *config;
	struct group_dialer *dialer;
	struct probe_url url;
	struct timer timer; /* until the next round; stopped during one */
	size_t count, running;
	uint64_t started_ms;
	struct member *members; /* owned */
};

struct urltest {
	struct loop *loop;
	const struct config *config;
	struct dialers *dialers;
	struct dial_env *env;
	size_t count;
	struct tested *groups; /* owned */
};

static size_t choose(const struct tested *g, size_t selected)
{
	size_t best = selected;
	unsigned now = g->members[selected].delay_ms;

	for (size_t i = 0; i < g->count; i++)
		if (g->members[i].delay_ms < g->members[best].delay_ms)
			best = i;
	if (now != URLTEST_FAILED && now - g->members[best].delay_ms <= g->config->tolerance_ms)
		return selected;
	return best;
}

static void select_best(const struct tested *g)
{
	const struct config_outbound *outbounds = g->urltest->config->outbounds;
	size_t selected = group_selected(g->dialer), best = choose(g, selected);

	if (best == selected)
		return;
	group_select(g->dialer, best);
	log_info("urltest", "outbound %s: %s, %u ms, instead of %s", g->tag,
		 outbounds[g->members[best].outbound].tag, g->members[best].delay_ms,
		 outbounds[g->members[selected].outbound].tag);
}

/* Many groups and many routers shall not knock at the same moment. */
static uint64_t next_round_ms(const struct tested *g)
{
	uint32_t random = 0, spread = g->config->interval_ms / 10;

	if (!spread || getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		return g->config->interval_ms;
	return g->config->interval_ms - spread + random % (2 * spread + 1);
}

static void member_tested(struct member *m, unsigned delay_ms)
{
	struct tested *g = m->group;

	m->delay_ms = delay_ms;
	if (--g->running)
		return;
	select_best(g);
	timer_start(&g->timer, &g->urltest->loop->timers, next_round_ms(g));
}

static void on_probed(void *owner, const struct probe_result *result)
{
	struct member *m = owner;

	m->probe = NULL;
	if (result->err)
		log_debug("urltest", "outbound %s: %s: %s: %s", m->group->tag,
			  m->group->urltest->config->outbounds[m->outbound].tag, result->call,
			  strerror(-result->err));
	/* 0 stands for "not known" */
	member_tested(m, result->err ? URLTEST_FAILED : result->ms ? result->ms : 1);
}

static void test_member(struct member *m)
{
	const struct urltest *u = m->group->urltest;
	const struct probe_request request = { .env = u->env,
					       .dialer = dialers_get(u->dialers, m->outbound),
					       .url = &m->group->url,
					       .done = on_probed,
					       .owner = m };
	const char *call;

	if (!request.dialer || probe_start(&m->probe, &request, &call))
		member_tested(m, URLTEST_FAILED);
}

/* Nobody has gone by the group for a while: its members are left alone until somebody does. */
static bool is_idle(const struct tested *g)
{
	uint64_t used_ms = group_used_ms(g->dialer);

	if (used_ms < g->started_ms)
		used_ms = g->started_ms;
	return g->urltest->loop->now_ms - used_ms > g->config->idle_timeout_ms;
}

static void on_round(struct timer *timer)
{
	struct tested *g = container_of(timer, struct tested, timer);

	if (is_idle(g)) {
		timer_start(timer, &g->urltest->loop->timers, next_round_ms(g));
		return;
	}
	/* all of them: the round is over when the last has come, also at once */
	g->running = g->count;
	for (size_t i = 0; i < g->count; i++)
		test_member(&g->members[i]);
}

static int init_group(struct urltest *u, size_t outbound, char *reason)
{
	const struct config_outbound *config = &u->config->outbounds[outbound];
	struct tested *g = &u->groups[u->count];
	size_t count = config->group.members.count;

	*g = (struct tested){ .urltest = u,
			      .outbound = outbound,
			      .tag = config->tag,
			      .config = &config->group,
			      .dialer = dialers_group(u->dialers, outbound),
			      .started_ms = u->loop->now_ms,
			      .count = count };
	if (probe_url_parse(config->group.url, &g->url)) {
		snprintf(reason, 256, "outbound %s: not a URL of plain http: %.128s", config->tag,
			 config->group.url);
		return -EINVAL;
	}
	g->members = calloc(count, sizeof(*g->members));
	if (!g->members)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		g->members[i] = (struct member){ .group = g,
						 .outbound = config->group.members.list[i] };
	timer_init(&g->timer, on_round);
	timer_start(&g->timer, &u->loop->timers, 0);
	u->count++;
	return 0;
}

int urltest_new(struct urltest **ret, struct loop *loop, const struct config *config,
		struct dialers *dialers, struct dial_env *env, char *reason)
{
	struct urltest *u = calloc(1, sizeof(*u));
	int r = 0;

	snprintf(reason, 256, "out of memory");
	if (!u)
		return -ENOMEM;
	*u = (struct urltest){ .loop = loop, .config = config, .dialers = dialers, .env = env };
	u->groups = calloc(config->outbound_count, sizeof(*u->groups));
	if (!u->groups)
		r = -ENOMEM;
	for (size_t i = 0; !r && i < config->outbound_count; i++)
		if (config->outbounds[i].type == OUTBOUND_URLTEST)
			r = init_group(u, i, reason);
	if (r) {
		urltest_free(u);
		return r;
	}
	*ret = u;
	return 0;
}

void urltest_free(struct urltest *u)
{
	if (!u)
		return;
	for (size_t i = 0; i < u->count; i++) {
		struct tested *g = &u->groups[i];

		timer_stop(&g->timer, &u->loop->timers);
		for (size_t j = 0; j < g->count; j++)
			probe_cancel(g->members[j].probe);
		free(g->members);
	}
	free(u->groups);
	free(u);
}

unsigned urltest_delay_ms(const struct urltest *u, size_t outbound, size_t member)
{
	for (size_t i = 0; i < u->count; i++)
		if (u->groups[i].outbound == outbound && member < u->groups[i].count)
			return u->groups[i].members[member].delay_ms;
	return 0;
}
