/* strategy - which uplinks a dial tries: first these, then those. A plain function of the interfaces
 * that are there, what the administrator asked for, and where the routes lead.
 */
#pragma once
#include <stdbool.h>
#include "config/config.h"
#include "kern/interfaces.h"

#define STRATEGY_MAX 16 /* interfaces of one dial; the rest, by index, is not tried */

struct strategy {
	enum network_strategy kind;
	unsigned types, fallback_types; /* masks of enum network_type; 0: not given */
};

/* Indices of interfaces: the primaries, then the fallbacks. Nothing is in it twice. */
struct strategy_plan {
	int interfaces[STRATEGY_MAX];
	unsigned primaries, count;
};

/* Whether there is a route to the destination that leaves by the interface. */
typedef bool strategy_reaches_fn(void *owner, int interface);

/* Whether the plan depends on the default interface: without types the routes decide. */
bool strategy_needs_default(const struct strategy *strategy);
/* @default_interface is where the routes lead if they are free to choose; 0: nowhere, or it is not needed.
 * @reaches is asked at most once an interface, and only for those that have a part. */
void strategy_plan(const struct strategy *strategy, const struct netif_list *list,
		   int default_interface, strategy_reaches_fn *reaches, void *owner,
		   struct strategy_plan *ret);
