/* group - one of several outbounds, chosen from outside while flows go on: selector and urltest. Its member
 * is looked up once a dial, by skip: a group costs nothing. */
#pragma once
#include <stdatomic.h>
#include "dial/dial.h"

struct group_dialer {
	struct dialer base;
	size_t count;
	const struct dialer **members; /* owned array of borrowed dialers */
	_Atomic size_t selected; /* what ctl or the tests of urltest chose; read by every worker */
};

extern const struct dialer_ops dial_group_ops;

size_t group_selected(const struct group_dialer *group);
/* From any thread; dials that have begun stay where they are. */
void group_select(struct group_dialer *group, size_t member);
