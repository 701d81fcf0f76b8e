/* lists - strings, tags, ports, marks and the like, one or many; takers of field.c. */
#pragma once
#include "config/field.h"

/* KEY_STRING_LIST to KEY_MAC_LIST. What is wrong with an element leaves it at zero. */
void lists_take(const struct item *item);
void lists_take_mask(const struct item *item);    /* KEY_NUMBER_MASK */
void lists_take_headers(const struct item *item); /* KEY_HEADERS */
/* Frees what lists_take() made, and its field may be freed again. */
void lists_free(const struct schema_key *key, char *base);
