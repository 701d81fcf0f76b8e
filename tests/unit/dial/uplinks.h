/* uplinks - a router's interfaces and routes as a table, in place of the kernel's. */
#pragma once
#include "base/names.h"
#include "kern/interfaces.h"
#include "kern/route.h"
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* needs setjmp.h and stdarg.h before it */

#define LO        1
#define LAN       2
#define WAN       3
#define LTE       4
#define WIFI      5

#define BIT(type) (1U << (type))

const struct netif *netif_by_index(const struct netif_list *list, int index)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->list[i].index == index)
			return &list->list[i];
	return NULL;
}

static inline struct netif make_netif(int index, enum network_type type)
{
	struct netif netif = {
		.index = index, .type = type, .up = true, .running = true, .loopback = index == LO
	};

	snprintf(netif.name, sizeof(netif.name), "if%d", index);
	return netif;
}

static inline void make_router(struct netif *ret)
{
	ret[0] = make_netif(LO, TYPE_OTHER);
	ret[1] = make_netif(LAN, TYPE_ETHERNET);
	ret[2] = make_netif(WAN, TYPE_ETHERNET);
	ret[3] = make_netif(LTE, TYPE_CELLULAR);
	ret[4] = make_netif(WIFI, TYPE_WIFI);
}
#define ROUTER_COUNT 5
