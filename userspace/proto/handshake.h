/* handshake - what is said to a proxy before bytes flow: a codec a protocol, sans I/O.
 *
 * Input is looked at, not taken: a step says how much of it was its own, and no byte of what follows is
 * touched. So nothing is ever read too far, and the socket can be given to the kernel.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "net/addr.h"

#define HANDSHAKE_OUT_MAX 1024
#define HANDSHAKE_IN_MAX  8192 /* a peer that says more before it is done is HANDSHAKE_BAD */

struct handshake_target {
	struct addr addr;     /* AF_UNSPEC: @domain at addr.port */
	const char *domain;   /* NULL: @addr */
	struct addr source;   /* of the client, for the PROXY protocol; AF_UNSPEC: not known */
	struct addr original; /* where the client wanted to go, for the PROXY protocol */
	bool datagrams;       /* UDP to it, not TCP; of codecs that carry it */
};

/* Of an outbound; lives longer than its handshakes. */
struct handshake_config {
	const char *username, *password; /* NULL: none */
	const uint8_t *uuid;             /* 16 bytes */
	const char *const *headers;      /* name, value, name, value, NULL; NULL: none */
};

enum handshake_result {
	HANDSHAKE_MORE, /* waits for input; what is in @out is to be sent */
	HANDSHAKE_DONE,
	HANDSHAKE_REFUSED, /* the proxy said no: @why, and @err as connect() would say it */
	HANDSHAKE_BAD,     /* this is not the protocol: @why */
};

struct handshake_step {
	const uint8_t *in; /* what has come and was not eaten */
	size_t in_len;
	size_t eaten;                   /* by this step */
	uint8_t out[HANDSHAKE_OUT_MAX]; /* to be sent */
	size_t out_len;
	sa_family_t family; /* of the proxy's address; AF_UNSPEC: not known */
	const char *why;    /* static */
	int err;            /* -errno */
};

/* Where a proxy takes datagrams, as it says. */
struct handshake_relay {
	struct addr addr; /* AF_UNSPEC: @domain at addr.port */
	char domain[256]; /* "": where the proxy itself is */
};

struct handshake_ops {
	const char *name;
	const char *no_datagrams; /* static: why it carries none; NULL: it does */
	size_t state_size;
	/* -errno: this target cannot be told (-EAFNOSUPPORT: socks4 and IPv6; -ENAMETOOLONG). */
	int (*init)(void *state, const struct handshake_target *target,
		    const struct handshake_config *config);
	/* First with no input. Again when there is more, or when @eaten was not 0 and @out is sent. */
	enum handshake_result (*step)(void *state, struct handshake_step *step);
	/* The request may ride with the first bytes of the client, and its answer (if @answer) comes before
	 * the first of the server: the first step's @out is owed, nothing waits for the answer. */
	bool deferred;
	/* Deferred: the answer, as step() with input and no output. NULL: there is none. */
	enum handshake_result (*answer)(void *state, struct handshake_step *step);
	/* After HANDSHAKE_DONE of a target of datagrams: they go by another way, as long as this stream lasts.
	 * NULL: they go by the stream. */
	void (*relay)(const void *state, struct handshake_relay *ret);
};

extern const struct handshake_ops socks5_handshake, socks4_handshake, http_connect_handshake,
	vless_handshake, proxy_v1_handshake, proxy_v2_handshake;
/* socks4 and 4a are one codec: it takes a domain (4a) or an address (4). */
