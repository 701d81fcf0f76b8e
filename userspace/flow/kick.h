/* kick - pays an owed first write: a fast open SYN leaves with the client's first bytes, or without any
 * after a while, so that a server that speaks first is not waited for by a client that waits for it. */
#pragma once
#include "net/stream.h"

#define KICK_WAIT_MS 300 /* for the client's first bytes */

/* Moves what the client has sent, as far as one write takes it; nothing is read that is not sent. 0: paid;
 * -EAGAIN: the client has sent nothing and @now is not set; else what the upstream's socket said. A client
 * that has ended pays with an empty write. */
int kick_pay(struct stream *client, struct stream *upstream, bool now, uint64_t *bytes);
