/* reverse - which name an address was last an answer for.
 *
 * One for all resolvers of a process: who asks on one worker connects on another. A mutex is held for a
 * lookup or for the addresses of one answer. The least recently learned or looked up leaves first.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "net/addr.h"

#define DNS_REVERSE_CAPACITY 4096
#define DNS_REVERSE_NAME     254 /* the longest name, and NUL */

struct dns_reverse;
int dns_reverse_new(struct dns_reverse **ret);      /* -ENOMEM */
void dns_reverse_free(struct dns_reverse *reverse); /* NULL is fine */
/* For @ttl_s seconds, at least 10 and at most a day. Without memory it stays unknown, which is no error. */
void dns_reverse_put(struct dns_reverse *reverse, const struct addr *addrs, size_t count,
		     const char *name, uint32_t ttl_s, uint64_t now_ms);
/* @ret_name: DNS_REVERSE_NAME bytes. The port of @addr does not matter. */
bool dns_reverse_get(struct dns_reverse *reverse, const struct addr *addr, uint64_t now_ms,
		     char *ret_name);
