/* sniff - what a connection speaks and to whom, from its first bytes. Sans I/O; no state but what is given.
 *
 * A parser that fails says SNIFF_NO: what is not understood is not known, and nothing is dropped for it.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "net/protocol.h"

#define SNIFF_STREAM_MAX 16384 /* bytes looked at; beyond, it is SNIFF_NO */
#define SNIFF_DOMAIN_MAX 254

enum sniff_result {
	SNIFF_NO,   /* none of them, whatever comes */
	SNIFF_MORE, /* could be, with more bytes */
	SNIFF_YES,
};

struct sniff {
	enum protocol protocol;
	char domain
		[SNIFF_DOMAIN_MAX]; /* lower case, no trailing dot; "": none told, or not a name */
	char client[64];            /* software, where told; "" */
};

/* One protocol's parser: the bytes so far, from the first one on. Fills in @ret with SNIFF_YES. */
typedef enum sniff_result sniff_fn(const uint8_t *data, size_t len, struct sniff *ret);
sniff_fn tls_hello_sniff, http_head_sniff, ssh_sniff, bittorrent_sniff, rdp_sniff, dns_sniff_stream;
sniff_fn dns_sniff, stun_sniff, dtls_sniff, ntp_sniff, utp_sniff; /* of one datagram */

/* All of them that @protocols (mask of enum protocol, 0: all) allows, over the bytes so far. */
enum sniff_result sniff_stream(const uint8_t *data, size_t len, uint32_t protocols,
			       struct sniff *ret);

/* A QUIC hello may take several datagrams. */
struct sniff_datagrams; /* heap; see sniff_datagram() */
/* The next datagram of a session. *@state is NULL at first and to be freed by sniff_datagrams_free(). */
enum sniff_result sniff_datagram(struct sniff_datagrams **state, const uint8_t *data, size_t len,
				 uint32_t protocols, struct sniff *ret);
void sniff_datagrams_free(struct sniff_datagrams *state); /* NULL is fine */

/* Copies a name in lower case without a trailing dot; false: it is not one (RFC 1123, IDN as A-labels or
 * UTF-8 is not), or does not fit. An IP address is not one either. */
bool sniff_domain(const uint8_t *name, size_t len, char *ret_domain);
