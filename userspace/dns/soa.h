/* soa - how long a negative answer holds, by the SOA record in its authority section (RFC 2308 5). */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* The lesser of the record's TTL and its MINIMUM field, in seconds. -ENOENT: no SOA; -EBADMSG:
 * @message breaks off or contradicts itself before one is found. */
int dns_soa_ttl(const uint8_t *message, size_t size, uint32_t *ret_ttl_s);
