/* handshake - a target through a proxy: dials the proxy by @via, then speaks a codec of proto/. */
#pragma once
#include "dial/dial.h"

struct handshake_dialer {
	struct dialer base;
	const struct dialer *via; /* borrowed */
	const struct handshake_ops *ops;
	struct handshake_config config; /* its strings are borrowed from the configuration */
	struct target
		proxy; /* of the proxy; neither address nor domain: the target itself (PROXY protocol) */
	char *proxy_domain; /* owns proxy.domain; NULL: none */
};

extern const struct dialer_ops dial_handshake_ops;
