/* cares - <ares.h> as the files of this module want it. */
#pragma once
/* From 1.28 on, ares_query() and others are marked deprecated, for calls that 1.18 lacks. */
#define CARES_NO_DEPRECATED
#include <ares.h>
