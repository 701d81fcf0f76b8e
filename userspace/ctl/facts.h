/* facts - of a connection that is only thought of: the arguments of `explain`. */
#pragma once
#include <net/if.h>
#include "ctl/call.h"

#define FACTS_PORT 443 /* of the destination, where none is given */

struct facts {
	unsigned network; /* CONFIG_NETWORK_TCP or _UDP */
	size_t inbound;
	struct addr source, destination;
	char domain[256]; /* what sniffing would find, lower case, no trailing dot; "": no name */
	enum protocol protocol; /* the same */
	char interface[IFNAMSIZ];
	uint32_t mark;
	uint8_t dscp;
};

/* 0; or -EINVAL with what the answer says. */
int facts_take(struct call *call, struct facts *ret);
