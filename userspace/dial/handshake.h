/* handshake - a target through a proxy: dials the proxy by @via, then speaks a codec of proto/. For datagrams
 * the result is a way through it; not every protocol has one: -EPROTONOSUPPORT. */
#pragma once
#include "dial/dial.h"
#include "net/sock.h"

struct handshake_dialer {
	struct dialer base;
	const struct dialer *via; /* borrowed */
	const struct handshake_ops *ops;
	struct handshake_config config; /* its strings are borrowed from the configuration */
	struct target
		proxy; /* of the proxy; neither address nor domain: the target itself (PROXY protocol) */
	struct keep_alive keep_alive; /* of the connection that a way for datagrams has */
	char *proxy_domain;           /* owns proxy.domain; NULL: none */
};

extern const struct dialer_ops dial_handshake_ops;
