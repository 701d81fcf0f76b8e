/* tunnels - the interfaces of wireguard outbounds that seam makes, and where their peers are.
 *
 * Belongs to the main thread and its loop. A peer with a name is asked for until there is an answer
 * (1 s, doubling to 60 s), and again when its TTL is over, but not within 60 s: its address may
 * change. A peer stays where it was while DNS fails.
 */
#pragma once
#include "config/config.h"
#include "loop/loop.h"

struct resolver;
struct tunnels;
/* Starts processes and waits for them: before the first thread is made. @config is not kept; @loop
 * and @resolver outlive the tunnels. -errno: nothing is left behind, @reason of
 * WIREGUARD_REASON_MAX bytes (kern/wireguard.h) names the outbound. */
int tunnels_new(struct tunnels **ret, struct loop *loop, const struct config *config,
		struct resolver *resolver, char *reason);
/* Removes the interfaces; takes up to 3 s each if wireguard-go hangs. NULL is fine. */
void tunnels_free(struct tunnels *tunnels);
