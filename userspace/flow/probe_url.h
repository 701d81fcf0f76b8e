/* probe_url - where a probe goes: plain http. What is kept of it is fit to be put into a request. */
#pragma once
#include "net/addr.h"

#define PROBE_URL_DEFAULT "http://www.gstatic.com/generate_204"

struct probe_url {
	struct addr addr; /* AF_UNSPEC: @host at addr.port */
	char host[256];
	char authority[272]; /* as written */
	char path[512];      /* with the query */
};

/* -EINVAL: not http://host[:port][/path], or too long. */
int probe_url_parse(const char *text, struct probe_url *ret);
