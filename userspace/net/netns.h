/* netns - sockets in another network namespace.
 *
 * A thread enters the namespace once, at start, and opens sockets there for all others: who asks never
 * changes its own namespace, and no privilege is needed after the start. Safe from any thread.
 */
#pragma once

struct netns;
/* @name: of `ip netns`, or an absolute path. -errno, with *@ret_call the call that failed. */
int netns_new(struct netns **ret, const char *name, const char **ret_call);
void netns_free(struct netns *netns); /* NULL is fine */
/* As socket(2), but -errno; of our own namespace if @netns is NULL. */
int netns_socket(struct netns *netns, int family, int type, int protocol);
