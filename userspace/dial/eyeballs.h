/* eyeballs - Happy Eyeballs (RFC 8305) as rules alone: which address next, and when. No sockets, no clock,
 * no memory of its own; race.c drives it.
 *
 * The preferred family's answer starts attempts at once; the other's waits resolution_delay_ms for it. From
 * then on families alternate while both have addresses left, whenever their answer came. An attempt starts
 * attempt_delay_ms after the one before, or at once when that one has failed. The first attempt of the family
 * that is not preferred starts no earlier than fallback_delay_ms after the first of all, and none overtakes
 * it. Where nothing is running any more nothing is waited for. So two addresses each and the defaults give:
 * preferred at 0, other at 300, preferred at 550, other at 800.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "config/config.h"
#include "dns/resolver.h"
#include "net/addr.h"

#define EYEBALLS_ATTEMPTS_MAX (DNS_TYPE_COUNT * DNS_ADDRS_MAX)

struct eyeballs_rules {
	enum domain_strategy strategy;
	uint32_t attempt_delay_ms, fallback_delay_ms, resolution_delay_ms;
	bool serial; /* an attempt starts when the one before has failed, and not earlier */
};

struct eyeballs_family {
	struct addr addrs[DNS_ADDRS_MAX];
	unsigned count, tried;
	bool awaited; /* its answer */
	uint64_t answer_ms;
};

struct eyeballs {
	struct eyeballs_rules rules;
	struct eyeballs_family family[DNS_TYPE_COUNT];
	unsigned started;
	uint32_t running; /* bit per attempt */
	enum dns_type last_family;
	uint64_t first_start_ms, last_start_ms;
};

enum eyeballs_verdict { EYEBALLS_START, EYEBALLS_WAIT, EYEBALLS_FAILED };

struct eyeballs_next {
	enum eyeballs_verdict verdict;
	unsigned attempt;     /* START: its number, from 0 in the order of starts */
	enum dns_type family; /* START */
	struct addr addr;     /* START; the port is 0 */
	uint64_t until_ms; /* WAIT: later than now; UINT64_MAX: for an answer or for an attempt */
};

enum dns_type eyeballs_preferred(enum domain_strategy strategy);
bool eyeballs_wants(enum domain_strategy strategy, enum dns_type type);

/* Every wanted answer is awaited from now on. */
void eyeballs_init(struct eyeballs *e, const struct eyeballs_rules *rules);
/* Once a wanted type; @count 0: there are none. What goes beyond DNS_ADDRS_MAX is dropped. */
void eyeballs_answered(struct eyeballs *e, enum dns_type type, const struct addr *addrs,
		       unsigned count, uint64_t now_ms);
void eyeballs_attempt_failed(struct eyeballs *e, unsigned attempt);
/* What to do now; an attempt that it names counts as started. To be asked until it says something else than
 * EYEBALLS_START, after each event and at until_ms. The first attempt that succeeds ends it all. */
struct eyeballs_next eyeballs_next(struct eyeballs *e, uint64_t now_ms);
