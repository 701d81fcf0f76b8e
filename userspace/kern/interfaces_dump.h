/* interfaces_dump - what the kernel tells of links and addresses, as two tables. */
#pragma once
#include "kern/interfaces.h"

struct netif_link_address {
	int index;
	struct netif_address address;
};

/* To be given zeroed but for the first five. */
struct netif_dump {
	int fd; /* blocking, with a limit */
	uint32_t seq;
	const struct netif_list *known; /* keep the types they have; NULL: none */
	const struct config_interface *types;
	size_t type_count;
	struct netif *links; /* by index, each once; without addresses */
	size_t link_count, link_room;
	struct netif_link_address *addresses; /* also of links that are not there */
	size_t address_count, address_room;
};

/* -errno; deinit in every case. */
int netif_dump_read(struct netif_dump *dump);
void netif_dump_deinit(struct netif_dump *dump);
