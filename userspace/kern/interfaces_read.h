/* interfaces_read - one reading of the links and their addresses. Always all of them: what is never edited
 * cannot drift from what the kernel has. */
#pragma once
#include "kern/interfaces.h"
#include "kern/route.h"

struct netif_reader {
	int fd; /* blocking, with a limit */
	uint32_t seq;
	struct route_socket routes;
	uint32_t mark;                  /* for default4 and default6 */
	struct config_interface *types; /* owned, with the names */
	size_t type_count;
};

/* -errno; the reader needs deinit in every case. */
int netif_reader_init(struct netif_reader *reader, const struct config *config, uint32_t mark);
void netif_reader_deinit(struct netif_reader *reader);
/* @old (NULL: none) tells the type of what it knows: an interface keeps it. */
int netif_read(struct netif_reader *reader, const struct netif_list *old, struct netif_list **ret);
