/* client - one connection to the control socket: requests in, answers out, one at a time.
 *
 * The next request is looked at when the last answer has been sent, so what one client makes the daemon
 * hold is one request and one answer. Who does not read or does not finish its request for 10 s is
 * dropped; a watcher is when more than 1 MiB waits for it.
 */
#pragma once
#include "ctl/watch.h"

#define CLIENTS_MAX 16

/* What all clients of a server share. */
struct client_set {
	const struct ctl_context *context;
	struct watch *watch;
	struct list clients;
	unsigned count;
};

/* Takes over @fd, also when it fails: -errno, or the client was told that there are too many. */
int client_new(struct client_set *set, int fd);
void client_free_all(struct client_set *set);
