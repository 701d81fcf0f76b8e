/* wireguard - a WireGuard interface that seam makes, configures and removes.
 *
 * The kernel's own by generic netlink (wireguard.ko, 5.6); where it has none, wireguard-go and its
 * configuration protocol (https://www.wireguard.com/xplatform/). Sockets bound to the interface find its
 * routes by a rule `oif NAME`; the main table is left alone.
 */
#pragma once
#include "config/config.h"

#define WIREGUARD_REASON_MAX 256

struct wireguard;
/* Peers have no endpoint yet. @mark: of the encrypted packets, 0: none. On -errno nothing is left behind
 * and @reason says which call and what to do. An interface of this name that was there is left alone:
 * -EEXIST. */
int wireguard_new(struct wireguard **ret, const struct config_wireguard *config, uint32_t mark,
		  char *reason);
int wireguard_set_endpoint(struct wireguard *wireguard, size_t peer, const struct addr *endpoint,
			   char *reason);
/* Removes the interface, its rules and routes. NULL is fine. */
void wireguard_free(struct wireguard *wireguard);
/* "kernel" or "wireguard-go" */
const char *wireguard_backend(const struct wireguard *wireguard);
