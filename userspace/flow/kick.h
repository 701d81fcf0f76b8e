/* kick - pays what a tunnel owes before bytes can flow: the SYN of a fast open leaves with the first write,
 * a proxy's header rides with the client's first bytes.
 *
 * It waits a while for the client, then goes without, so that a server that speaks first is not waited for
 * by a client that waits for it.
 */
#pragma once
#include "dial/dial.h"
#include "net/stream.h"

#define KICK_WAIT_MS 300 /* for the client's first bytes */

struct kick {
	struct dial_owed *owed; /* owned; NULL: only the SYN */
	size_t header_sent;
	bool opens;     /* the upstream is not connected before the first write */
	bool bare;      /* the client's bytes are to be left alone */
	bool written;   /* the first write is done */
	uint64_t bytes; /* of the client's that went along */
};

static inline bool kick_owes(const struct kick *kick)
{
	return kick->owed && kick->header_sent < kick->owed->header_len;
}

/* One write, with what the client has sent as far as it fits; nothing is read that is not sent. 0: paid;
 * -EAGAIN: the client has sent nothing and @now is not set; -EINPROGRESS: the rest when the upstream is
 * writable; else what its socket said. A client that has ended does not keep the rest waiting. */
int kick_pay(struct kick *kick, struct stream *client, struct stream *upstream, bool now);
