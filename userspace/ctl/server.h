/* server - the control socket: a unix stream, one JSON object a line in, one a line out (seam/ctl.h).
 *
 * Runs on the main thread's loop; what it wants of a worker goes there by post_send() and comes back the
 * same way. Requests are at most SEAM_CTL_REQUEST_MAX bytes, clients at most 16, idle ones are closed
 * after 10 s. The socket has mode 0660; SO_PEERCRED of who changes something is logged.
 */
#pragma once
#include "flow/worker.h"

struct ctl_server;
struct netif_list;

/* What the commands can ask. Everything outlives the server. */
struct ctl_context {
	struct loop *loop;
	struct post_box *post; /* of the main thread: answers come back here */
	struct worker *workers;
	unsigned worker_count;
	const struct flow_config *config;
	uint64_t started_ms;        /* clock_ms() */
	bool sockmap;               /* auto may use it */
	const char *sockmap_reason; /* why not; "" if it may */
	struct packet *packet;      /* NULL: not loaded */
	bool packet_takes;          /* flows are taken over */
	const char *packet_reason;  /* why not; "" if they are; NULL is as "" */
	/* The network interfaces as of now, borrowed; NULL: nobody keeps them. */
	struct netif_list *(*interfaces)(void *owner);
	void *interfaces_owner;
	struct dial_env
		*dial_env; /* of the main thread; NULL: nothing is dialed or resolved here */
	/* What a urltest outbound last measured of its member: 0 not known, UINT_MAX it failed; NULL:
	 * nobody tests. */
	unsigned (*delay_ms)(void *owner, size_t outbound, size_t member);
	void *delay_owner;
};

/* A stale socket file (nobody answers on it) is replaced; a live one is -EADDRINUSE. -errno and @reason
 * (256 bytes). */
int ctl_server_new(struct ctl_server **ret, const char *path, const struct ctl_context *context,
		   char *reason);
/* After the workers have stopped; closes clients and removes the socket. NULL is fine. */
void ctl_server_free(struct ctl_server *server);

/* Whether flows are taken over, and why not. */
bool server_packet_takes(const struct ctl_context *context);
const char *server_packet_reason(const struct ctl_context *context);
