/* peers - what the keys of a WireGuard outbound do not show one by one. */
#pragma once
#include "config/report.h"

void peers_check(struct report *report, struct config *config);
