/* opening - what the first bytes of a flow need before a method may move the rest: a ClientHello that is
 * cut, and the answer of a proxy that comes before the server's first byte. Each is an ops table of its
 * own, for its direction, and makes way for the usual method when it is done. */
#pragma once
#include "proto/handshake.h"
#include "proto/tls_fragment.h"
#include "relay/relay.h"

struct relay_tls {
	bool packets, records; /* cut into writes, into TLS records; both: a record a write */
	uint32_t delay_ms;     /* between writes towards a peer that is near, see opening.c */
	uint32_t limit_ms;     /* acknowledgements are waited for no longer than this in all */
};

struct relay_opening {
	struct relay_tls tls;
	uint8_t *hello; /* NULL: it is still to come; as it will be sent */
	size_t len, at, ends[TLS_FRAGMENT_CUTS_MAX + 1];
	size_t pieces, piece;
	uint64_t begun_ms; /* when its first bytes were seen, 0: not yet */
	uint64_t sent_ms;  /* when the last piece was, 0: none yet */
	uint64_t until_ms; /* the next piece waits for this, 0: and for an acknowledgement */
	const struct handshake_ops *answer; /* of the proxy; NULL: none */
	void *answer_state;
	const char *why; /* static: what was wrong with the answer; NULL: nothing */
};

/* Right after relay_start(). -ENOMEM */
int relay_open_tls(struct relay *relay, const struct relay_tls *tls);
/* Takes @state over, also when it fails. */
int relay_open_answer(struct relay *relay, const struct handshake_ops *ops, void *state);
/* For relay.c. */
bool relay_opening_is_over(const struct relay *relay);
void relay_opening_free(struct relay *relay);
