/* value - numbers, prefixes and keys as a configuration writes them in strings. */
#pragma once
#include <stdint.h>
#include "config/config.h"

/* All three: 0; -EINVAL: not of that form; -ERANGE: does not fit. */
int value_integer(const char *text, uint64_t *ret); /* "1514", "0x5ea" */
int value_duration(const char *text,
		   uint64_t *ret_ms);                  /* "300ms", "5s", "1h30m": units only fall */
int value_size(const char *text, uint64_t *ret_bytes); /* "65536", "64KiB", "1GB" */

/* "10.0.0.0/8". -EINVAL. */
int value_prefix(const char *text, struct config_prefix *ret);
/* Clears the host bits of @prefix. */
void value_prefix_mask(struct config_prefix *prefix);
/* WIREGUARD_KEY_BYTES in base64 (RFC 4648 4). -EINVAL. */
int value_key(const char *text, uint8_t *ret);
/* "aa:bb:cc:dd:ee:ff". -EINVAL. */
int value_mac(const char *text, struct config_mac *ret);
/* VLESS_UUID_BYTES as 8-4-4-4-12 hexadecimal digits. -EINVAL. */
int value_uuid(const char *text, uint8_t *ret);
/* "1000:2000", ":3000", "4000:". -EINVAL; -ERANGE: no port, or the wrong way round. */
int value_port_range(const char *text, struct config_ports *ret);
