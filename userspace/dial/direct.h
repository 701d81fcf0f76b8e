/* direct - one connect() to an address, with the socket options of its outbound. */
#pragma once
#include "dial/dial.h"

struct direct_dialer {
	struct dialer base;
	uint32_t routing_mark;
	char bind_interface[16];  /* "": none */
	struct addr bind4, bind6; /* AF_UNSPEC: none */
	uint32_t connect_timeout_ms;
};

extern const struct dialer_ops dial_direct_ops;
