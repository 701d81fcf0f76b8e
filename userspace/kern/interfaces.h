/* interfaces - the network interfaces of this namespace as the kernel tells of them (rtnetlink(7)), kept
 * up to date. A list is immutable and shared by reference; a change makes a new one. */
#pragma once
#include <net/if.h>
#include "config/config.h"
#include "loop/loop.h"

struct netif_address {
	struct addr addr; /* port 0 */
	uint8_t bits;
};

struct netif {
	int index;
	char name[IFNAMSIZ];
	char kind[IFNAMSIZ]; /* IFLA_INFO_KIND, "" for hardware */
	enum network_type type;
	bool up;      /* IFF_UP */
	bool running; /* and there is a carrier */
	bool loopback;
	bool default4; /* routes to the internet lead here, for sockets with the mark of the list */
	bool default6;
	uint32_t mtu;
	size_t address_count;
	struct netif_address *addresses;
};

struct netif_list {
	_Atomic unsigned refs;
	size_t count;
	struct netif *list; /* by index */
	uint32_t mtu_most;  /* of those that are not loopback */
};

struct netif_list *netif_list_ref(struct netif_list *list);
void netif_list_unref(struct netif_list *list); /* NULL is fine */
/* NULL: gone. */
const struct netif *netif_by_index(const struct netif_list *list, int index);
/* Whether some interface that is there has the address. */
bool netif_has_address(const struct netif_list *list, const struct addr *addr);

struct netif_monitor;
/* At most every 250 ms, after the first list: @list is borrowed. */
typedef void netif_change_fn(void *owner, struct netif_list *list);
struct netif_watcher {
	netif_change_fn *changed;
	void *owner;
};

/* Reads the first list before it returns. @mark: for default4 and default6. @types of
 * config->interfaces are copied. -errno, with what failed in @reason (256 bytes). */
int netif_monitor_new(struct netif_monitor **ret, struct loop *loop, const struct config *config,
		      uint32_t mark, const struct netif_watcher *watcher, char *reason);
void netif_monitor_free(struct netif_monitor *monitor); /* NULL is fine */
/* Borrowed, as of now. */
struct netif_list *netif_monitor_list(const struct netif_monitor *monitor);
