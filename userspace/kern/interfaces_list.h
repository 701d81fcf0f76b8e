/* interfaces_list - making lists of interfaces, for those who read them from the kernel. */
#pragma once
#include "kern/interfaces.h"

/* A list with one reference: @interfaces copied, sorted by index, and room behind them for the addresses of
 * all, which the caller hands out. NULL: out of memory. */
struct netif_list *netif_list_new(const struct netif *interfaces, size_t count,
				  size_t address_count, struct netif_address **ret_addresses);
/* In everything that a list tells. */
bool netif_list_equal(const struct netif_list *a, const struct netif_list *b);
