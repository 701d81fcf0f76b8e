/* owed - what tunnels inside each other owe, as one. */
#pragma once
#include "dial/dial.h"

/* @below, whose header and answer come first, and @above. Both become part of *@ret, or stay the caller's:
 * -ENAMETOOLONG, -ENOMEM. */
int dial_owed_join(struct dial_owed **ret, struct dial_owed *below, struct dial_owed *above);
