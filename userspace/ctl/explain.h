/* explain - what the rules do with a connection that is only thought of. */
#pragma once
#include "ctl/call.h"

/* As struct command wants them. */
int explain_begin(struct call *call);
int explain_run(struct call *call, struct out *out);
