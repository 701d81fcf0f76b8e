/* flows - the list of flows, filtered. */
#pragma once
#include "ctl/call.h"

/* As struct command wants it. */
int flows_list(struct call *call, struct out *out);
int flows_show(struct call *call, struct out *out);
