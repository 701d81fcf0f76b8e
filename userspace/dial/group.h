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
	_Atomic uint64_t
		*used_ms; /* owned: when it was last dialed, to the second; NULL: nobody asks */
};

extern const struct dialer_ops dial_group_ops;

size_t group_selected(const struct group_dialer *group);
uint64_t group_used_ms(const struct group_dialer *group); /* monotonic; 0: never */
/* From any thread; dials that have begun stay where they are. */
void group_select(struct group_dialer *group, size_t member);
