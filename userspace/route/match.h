/* match - whether one condition holds. */
#pragma once
#include "route/query.h"

bool route_match_holds(struct route_query *query, uint32_t id);
