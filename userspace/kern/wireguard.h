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
/* Starts a process and waits for it, up to 3 s, where the kernel has no WireGuard. @config outlives the
 * interface. @mark: of the encrypted packets, 0: none. On -errno nothing is left behind and @reason says
 * which call and what to do. An interface of this name that was there is left alone: -EEXIST.
 *
 * Endpoints that are IP addresses are set. While there is none, and no peer without an address (it calls
 * us), the interface is down: a packet, also one of MLD or a keepalive, would start a handshake that has
 * nowhere to go, and hold back the next one for 5 s. A dial through it fails at once: connect() says
 * ENETUNREACH. */
int wireguard_new(struct wireguard **ret, const struct config_wireguard *config, uint32_t mark,
		  char *reason);
/* The first one brings the interface up. On -errno, call it again later. */
int wireguard_set_endpoint(struct wireguard *wireguard, size_t peer, const struct addr *endpoint,
			   char *reason);
/* Removes the interface, its rules and routes. NULL is fine. */
void wireguard_free(struct wireguard *wireguard);
/* "kernel" or "wireguard-go" */
const char *wireguard_backend(const struct wireguard *wireguard);
bool wireguard_is_up(const struct wireguard *wireguard);
/* Readable when the process behind the interface has ended, and the interface with it; belongs to
 * @wireguard. -1: there is no process, or the kernel has no pidfd_open(2) (before 5.3). */
int wireguard_pidfd(const struct wireguard *wireguard);
/* Whether that process is over, and how in @reason. The interface is of no more use then. */
bool wireguard_has_ended(struct wireguard *wireguard, char *reason);
