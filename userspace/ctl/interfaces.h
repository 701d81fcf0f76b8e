/* interfaces - the list of network interfaces. */
#pragma once
#include "ctl/call.h"

/* As struct command wants it. */
int interfaces_list(struct call *call, struct out *out);
