/* private - addresses that nobody on the internet answers from. */
#pragma once
#include <stdbool.h>
#include "net/addr.h"

/* False for AF_UNSPEC. README.md has the list. */
bool route_is_private(const struct addr *addr);
