/* decide - what happens to a connection or a UDP session: its facts, the rules, and what rules ask for on the
 * way.
 *
 * Sniffing looks at the client's first bytes where they are: in its socket, or among the datagrams that are
 * held for it. One lives until bytes can flow: dials use its names and addresses.
 */
#pragma once
#include "dial/dial.h"
#include "dial/strategy.h"
#include "dns/resolver.h"
#include "net/stream.h"
#include "proto/sniff.h"
#include "route/route.h"

struct worker;
struct inbound;
struct udp_held;
struct decide;
typedef void decide_wake_fn(void *owner);

enum decide_result {
	DECIDE_WAIT,       /* for the client's socket, for decide_time_up(), or for wake() */
	DECIDE_DONE,       /* decide_verdict() */
	DECIDE_GONE,       /* the client has ended, and had sent nothing */
	DECIDE_UNRESOLVED, /* decide_unresolved() */
};

struct decide_request {
	struct worker *worker;
	const struct inbound *inbound;
	struct stream *client;       /* TCP; NULL: UDP */
	const struct udp_held *held; /* UDP: more may come to be held before each decide_run() */
	int interface;               /* UDP: index of that the first datagram came in by */
	uint8_t dscp;                /* UDP: of the first datagram */
	struct addr source, destination;
	struct timer *timer; /* to be started for the time that sniffing may take */
	decide_wake_fn *wake;
	void *owner;
};

int decide_new(struct decide **ret, const struct decide_request *request);
void decide_free(struct decide *decide); /* NULL is fine */
/* Goes on from where it was. */
enum decide_result decide_run(struct decide *decide);
void decide_time_up(struct decide *decide); /* the timer has run; decide_run() is next */

/* Why the name has no address. */
const char *decide_unresolved(const struct decide *decide, const char **ret_name);
const struct route_meta *decide_meta(const struct decide *decide);
const struct route_verdict *decide_verdict(const struct decide *decide);
const struct sniff *decide_sniffed(const struct decide *decide);
/* Where to dial: what the rules say comes before what the outbound says (@override; nothing in it: nothing),
 * and both before what the client wanted. @decide NULL: there are no rules. */
struct target decide_target(const struct decide *decide, const struct target *override,
			    const struct addr *destination);
/* The rules' network strategy; NULL: none. */
const struct strategy *decide_strategy(const struct decide *decide);
