/* outbounds - what they are, which members groups have selected, and how long the way through them is. */
#pragma once
#include "ctl/call.h"

/* As struct command wants them. */
int outbounds_list(struct call *call, struct out *out);
int outbounds_select(struct call *call, struct out *out);
int outbounds_test_begin(struct call *call);
int outbounds_test(struct call *call, struct out *out);

/* Of the outbound with the tag @word; -EINVAL with what the answer says. */
int outbounds_find(struct call *call, const char *word, size_t *ret);
