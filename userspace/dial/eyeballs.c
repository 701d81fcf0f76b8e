#include "dial/eyeballs.h"
#include <assert.h>
#include <string.h>

_Static_assert(EYEBALLS_ATTEMPTS_MAX <= 32, "bits of running");
_Static_assert(DNS_TYPE_COUNT == 2, "the other of two");

static enum dns_type other(enum dns_type type)
{
	return type == DNS_A ? DNS_AAAA : DNS_A;
}

enum dns_type eyeballs_preferred(enum domain_strategy strategy)
{
	return strategy == STRATEGY_PREFER_IPV4 || strategy == STRATEGY_IPV4_ONLY ? DNS_A
										  : DNS_AAAA;
}

bool eyeballs_wants(enum domain_strategy strategy, enum dns_type type)
{
	return type == eyeballs_preferred(strategy) || strategy == STRATEGY_PREFER_IPV4 ||
	       strategy == STRATEGY_PREFER_IPV6;
}

void eyeballs_init(struct eyeballs *e, const struct eyeballs_rules *rules)
{
	*e = (struct eyeballs){ .rules = *rules };
	for (enum dns_type type = 0; type < DNS_TYPE_COUNT; type++)
		e->family[type].awaited = eyeballs_wants(rules->strategy, type);
}

void eyeballs_answered(struct eyeballs *e, enum dns_type type, const struct addr *addrs,
		       unsigned count, uint64_t now_ms)
{
	struct eyeballs_family *f = &e->family[type];

	assert(f->awaited);
	f->awaited = false;
	f->answer_ms = now_ms;
	f->count = count < DNS_ADDRS_MAX ? count : DNS_ADDRS_MAX;
	if (f->count)
		memcpy(f->addrs, addrs, f->count * sizeof(*addrs));
}

static uint32_t bit(unsigned attempt)
{
	return (uint32_t)1 << attempt;
}

void eyeballs_attempt_failed(struct eyeballs *e, unsigned attempt)
{
	assert(e->running & bit(attempt));
	e->running &= ~bit(attempt);
}

static bool is_left(const struct eyeballs *e, enum dns_type type)
{
	return e->family[type].tried < e->family[type].count;
}

static enum dns_type next_family(const struct eyeballs *e)
{
	enum dns_type type = e->started ? other(e->last_family)
					: eyeballs_preferred(e->rules.strategy);

	return is_left(e, type) ? type : other(type);
}

/* When the next attempt, which goes to @type, may start; UINT64_MAX: when something has failed. */
static uint64_t earliest_start(const struct eyeballs *e, enum dns_type type)
{
	const struct eyeballs_family *preferred = &e->family[eyeballs_preferred(e->rules.strategy)];
	uint64_t at = 0, fallback = e->first_start_ms + e->rules.fallback_delay_ms;

	if (!e->started)
		return preferred->awaited ? e->family[type].answer_ms + e->rules.resolution_delay_ms
					  : 0;
	if (!e->running)
		return 0;
	if (e->rules.serial)
		return UINT64_MAX;
	if (e->running & bit(e->started - 1))
		at = e->last_start_ms + e->rules.attempt_delay_ms;
	if (&e->family[type] != preferred && !e->family[type].tried && fallback > at)
		at = fallback;
	return at;
}

static struct eyeballs_next start(struct eyeballs *e, enum dns_type type, uint64_t now_ms)
{
	struct eyeballs_family *f = &e->family[type];

	if (!e->started)
		e->first_start_ms = now_ms;
	e->last_start_ms = now_ms;
	e->last_family = type;
	e->running |= bit(e->started);
	return (struct eyeballs_next){ .verdict = EYEBALLS_START,
				       .attempt = e->started++,
				       .family = type,
				       .addr = f->addrs[f->tried++] };
}

struct eyeballs_next eyeballs_next(struct eyeballs *e, uint64_t now_ms)
{
	struct eyeballs_next wait = { .verdict = EYEBALLS_WAIT, .until_ms = UINT64_MAX };
	enum dns_type type = next_family(e);

	if (is_left(e, type)) {
		wait.until_ms = earliest_start(e, type);
		return wait.until_ms <= now_ms ? start(e, type, now_ms) : wait;
	}
	if (!e->running && !e->family[DNS_A].awaited && !e->family[DNS_AAAA].awaited)
		return (struct eyeballs_next){ .verdict = EYEBALLS_FAILED };
	return wait;
}
