#include "dial/strategy.h"

enum part { NONE, PRIMARY, FALLBACK };

/* What a plan is made of. */
struct choice {
	const struct strategy *strategy;
	int default_interface;
	strategy_reaches_fn *reaches;
	void *owner;
};

bool strategy_needs_default(const struct strategy *strategy)
{
	return !strategy->types && strategy->kind != NETWORK_HYBRID;
}

static bool is_primary(const struct choice *choice, const struct netif *netif)
{
	const struct strategy *strategy = choice->strategy;

	if (strategy->types)
		return strategy->types & 1U << netif->type;
	if (choice->default_interface)
		return netif->index == choice->default_interface;
	return true;
}

static enum part part_of(const struct choice *choice, const struct netif *netif)
{
	const struct strategy *strategy = choice->strategy;

	if (is_primary(choice, netif))
		return PRIMARY;
	if (strategy->kind != NETWORK_FALLBACK)
		return NONE;
	return !strategy->fallback_types || strategy->fallback_types & 1U << netif->type ? FALLBACK
											 : NONE;
}

/* The routes may lead to loopback, for an address of our own; nothing else goes there. */
static bool is_usable(const struct choice *choice, const struct netif *netif)
{
	if (!netif->up || !netif->running)
		return false;
	return netif->index == choice->default_interface ||
	       (!netif->loopback && choice->reaches(choice->owner, netif->index));
}

static void add(const struct choice *choice, const struct netif_list *list, enum part part,
		struct strategy_plan *plan)
{
	for (size_t i = 0; i < list->count && plan->count < STRATEGY_MAX; i++) {
		const struct netif *netif = &list->list[i];

		if (part_of(choice, netif) == part && is_usable(choice, netif))
			plan->interfaces[plan->count++] = netif->index;
	}
}

/* Routes outlive the carrier unless sysctl ignore_routes_with_linkdown is set: where they lead may be
 * a pulled cable, and then they have no say. */
static bool is_alive(const struct netif_list *list, int interface)
{
	const struct netif *netif = interface ? netif_by_index(list, interface) : NULL;

	return netif && netif->up && netif->running;
}

void strategy_plan(const struct strategy *strategy, const struct netif_list *list,
		   int default_interface, strategy_reaches_fn *reaches, void *owner,
		   struct strategy_plan *ret)
{
	const struct choice choice = { .strategy = strategy,
				       .default_interface = is_alive(list, default_interface)
								    ? default_interface
								    : 0,
				       .reaches = reaches,
				       .owner = owner };

	*ret = (struct strategy_plan){ 0 };
	add(&choice, list, PRIMARY, ret);
	ret->primaries = ret->count;
	if (strategy->kind == NETWORK_FALLBACK)
		add(&choice, list, FALLBACK, ret);
}
