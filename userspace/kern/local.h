/* local - clients on the router itself: what they send goes straight to the upstream (bpf/local.bpf.c).
 *
 * Only a client's non-blocking TCP socket is taken, when its flow enters the sockmap, and only in the
 * network namespace of the daemon. Programs and maps vanish with the daemon; a socket that was taken is an
 * ordinary one again then. Using it needs no capability.
 */
#pragma once
#include <stdint.h>
#include "kern/fastpath.h"
#include "net/addr.h"

struct local;

struct local_flow {
	uint64_t id;   /* used once */
	uint32_t slot; /* of the accepted socket; its seam_dir is ready and says SEAM_GATE_LOCAL */
	int upstream_fd;
	struct addr source, destination; /* as the client has them: itself, and whom it called */
};

/* After an error, -errno with @reason of FASTPATH_REASON_MAX bytes, nothing is held. */
int local_load(struct local **ret, struct fastpath *fastpath, char *reason);
/* Every flow is removed. NULL is fine. */
void local_free(struct local *local);

/* From here on the client's messages may go straight. *@ret_seq: sequence number of the first byte that the
 * accepted socket, which must not be in the sockmap yet, is going to receive. -ENOENT: no socket of this host
 * is the client. -EOPNOTSUPP: it is not fit. -EBUSY: it was not when it was looked at. */
int local_add(struct local *local, const struct local_flow *flow, uint32_t *ret_seq);
/* After close() of the upstream socket, or before it is in the sockmap. */
void local_remove(struct local *local, uint64_t id);
