/* tunnels - the interfaces of wireguard outbounds that seam makes, and where their peers are.
 *
 * Belongs to the main thread and its loop. A peer with a name is asked for until there is an answer
 * (1 s, doubling to 60 s), and again when its TTL is over, but not within 60 s: its address may
 * change. A peer stays where it was while DNS fails. An interface whose process ends is made again
 * (after 1 s, doubling to 60 s until one has lived for 60 s), with the endpoints it had; that takes
 * up to 3 s of the loop's time if wireguard-go hangs, 20 ms else.
 */
#pragma once
#include "config/config.h"
#include "loop/loop.h"

struct resolver;
struct tunnels;
/* Starts processes and waits for them: before the first thread is made. @config, @loop and
 * @resolver outlive the tunnels. -errno: nothing is left behind, @reason of
 * WIREGUARD_REASON_MAX bytes (kern/wireguard.h) names the outbound. */
int tunnels_new(struct tunnels **ret, struct loop *loop, const struct config *config,
		struct resolver *resolver, char *reason);
/* Removes the interfaces; takes up to 3 s each if wireguard-go hangs. NULL is fine. */
void tunnels_free(struct tunnels *tunnels);
