/* value - numbers as a configuration writes them in strings. */
#pragma once
#include <stdint.h>

/* All three: 0; -EINVAL: not of that form; -ERANGE: does not fit. */
int value_integer(const char *text, uint64_t *ret); /* "1514", "0x5ea" */
int value_duration(const char *text,
		   uint64_t *ret_ms);                  /* "300ms", "5s", "1h30m": units only fall */
int value_size(const char *text, uint64_t *ret_bytes); /* "65536", "64KiB", "1GB" */
