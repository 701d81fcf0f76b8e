/* address - addresses, prefixes, UUIDs and WireGuard keys into their fields; takers of field.c. */
#pragma once
#include "config/field.h"

void address_take(const struct item *item);          /* KEY_ADDRESS */
void address_take_prefixes(const struct item *item); /* KEY_PREFIX_LIST */
void address_take_key(const struct item *item);      /* KEY_WG_KEY; never quotes the value */
void address_take_uuid(const struct item *item);     /* KEY_UUID; never quotes the value */
