/* interfaces - network strategy: the same address by several uplinks, the first that answers wins.
 *
 * The target is an address. Every attempt is bound to its interface, also where the routes would have led
 * there, but for loopback; see strategy.h for which ones are tried. Datagrams have no answer to wait for: one
 * after the other, in the order of the plan, until there is a route. */
#pragma once
#include <stdatomic.h>
#include "dial/dial.h"
#include "dial/strategy.h"

/* What dials learn. It is not the dialer's, which is immutable, but beside it: what one worker learned
 * serves all. */
struct interfaces_memory {
	_Atomic uint64_t fallback_won_ms; /* when a fallback last won, monotonic; 0: not lately */
};

struct interfaces_dialer {
	struct dialer base;
	const struct dialer *via; /* borrowed; dials with request.interface set */
	bool always; /* false: only dials that bring a strategy of their own; others skip it */
	struct strategy strategy;
	uint32_t fallback_delay_ms;       /* how long the primaries are ahead */
	uint32_t routing_mark;            /* for the routes */
	struct interfaces_memory *memory; /* owned */
};

extern const struct dialer_ops dial_interfaces_ops;

/* Zeroed but for base and memory; to be freed by its ops. NULL: out of memory. */
struct interfaces_dialer *interfaces_dialer_new(void);
