/* filter - which flows and sessions a list is of: the arguments source, destination and outbound. */
#pragma once
#include "ctl/call.h"
#include "net/addr.h"

struct filter {
	const char *outbound;            /* NULL: any */
	struct addr source, destination; /* AF_UNSPEC: any */
};

int filter_take(struct call *call, struct filter *ret); /* -EINVAL, and @call says why */
bool filter_matches(const struct filter *filter, const struct addr *source,
		    const struct addr *destination, const char *outbound);
