/* tls_fragment - where to cut a ClientHello so that no piece shows the name it is for.
 *
 * Cuts lie inside the registrable domain of the SNI (by the public suffix list), or, where that is not
 * known, one inside each label but the last; never at the first byte of the stream.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_FRAGMENT_CUTS_MAX 8

/* Offsets into @data in rising order, each inside (0, len); 0 of them: not a ClientHello, or without a
 * name. @random decides the place inside a label. */
size_t tls_fragment_cuts(const uint8_t *data, size_t len, uint32_t random,
			 size_t ret_cuts[TLS_FRAGMENT_CUTS_MAX]);

/* The hello again, each piece between cuts in a TLS record of its own (same type and version, RFC 8446
 * 5.1), into @out. The hello may span several records at first. Returns the bytes written, with the new
 * ends of pieces in @ret_ends (@count + 1 of them), or 0: @size is too small or it is no whole hello. */
size_t tls_fragment_records(const uint8_t *data, size_t len, const size_t *cuts, size_t count,
			    uint8_t *out, size_t size, size_t ret_ends[TLS_FRAGMENT_CUTS_MAX + 1]);
