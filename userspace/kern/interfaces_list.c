#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "kern/interfaces.h"
#include "kern/interfaces_list.h"

struct netif_list *netif_list_ref(struct netif_list *list)
{
	atomic_fetch_add_explicit(&list->refs, 1, memory_order_relaxed);
	return list;
}

void netif_list_unref(struct netif_list *list)
{
	if (list && atomic_fetch_sub_explicit(&list->refs, 1, memory_order_acq_rel) == 1)
		free(list); /* with the interfaces and their addresses: one block */
}

const struct netif *netif_by_index(const struct netif_list *list, int index)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (list->list[middle].index == index)
			return &list->list[middle];
		if (list->list[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* The question may come without a scope: an address of the client's, say. */
static bool same_host(const struct addr *ours, const struct addr *addr)
{
	struct addr a = *ours, b = *addr;

	a.port = b.port = 0;
	if (!a.scope || !b.scope)
		a.scope = b.scope = 0;
	return addr_equal(&a, &b);
}

bool netif_has_address(const struct netif_list *list, const struct addr *addr)
{
	for (size_t i = 0; i < list->count; i++)
		for (size_t j = 0; j < list->list[i].address_count; j++)
			if (same_host(&list->list[i].addresses[j].addr, addr))
				return true;
	return false;
}

static bool netif_equal(const struct netif *a, const struct netif *b)
{
	if (a->index != b->index || strcmp(a->name, b->name) != 0 ||
	    strcmp(a->kind, b->kind) != 0 || a->type != b->type || a->up != b->up ||
	    a->running != b->running || a->loopback != b->loopback || a->default4 != b->default4 ||
	    a->default6 != b->default6 || a->mtu != b->mtu || a->address_count != b->address_count)
		return false;
	for (size_t i = 0; i < a->address_count; i++)
		if (a->addresses[i].bits != b->addresses[i].bits ||
		    !addr_equal(&a->addresses[i].addr, &b->addresses[i].addr))
			return false;
	return true;
}

bool netif_list_equal(const struct netif_list *a, const struct netif_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!netif_equal(&a->list[i], &b->list[i]))
			return false;
	return true;
}

struct netif_list *netif_list_new(const struct netif *interfaces, size_t count,
				  size_t address_count, struct netif_address **ret_addresses)
{
	struct netif_list *list;

	list = calloc(1, sizeof(*list) + count * sizeof(*interfaces) +
				 address_count * sizeof(**ret_addresses));
	if (!list)
		return NULL;
	atomic_init(&list->refs, 1);
	list->count = count;
	list->list = (struct netif *)(list + 1);
	if (count)
		memcpy(list->list, interfaces, count * sizeof(*interfaces));
	for (size_t i = 0; i < count; i++)
		if (!interfaces[i].loopback && interfaces[i].mtu > list->mtu_most)
			list->mtu_most = interfaces[i].mtu;
	*ret_addresses = (struct netif_address *)(list->list + count);
	return list;
}
