/* udp - the list of UDP sessions. */
#pragma once
#include "ctl/call.h"

/* As struct command wants it. */
int udp_list(struct call *call, struct out *out);
