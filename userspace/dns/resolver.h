/* resolver - names to addresses, asynchronously, with a cache. One belongs to one loop.
 *
 * Questions go out through c-ares (1.18 and later), on sockets that the owner opens, so they are marked
 * and bound like any other. Identical questions under way are asked once; an answer lives in the cache for
 * its TTL, a negative one for that of the zone's SOA (RFC 2308), at most cache_capacity of them.
 */
#pragma once
#include <stdint.h>
#include "config/config.h"
#include "loop/loop.h"
#include "net/addr.h"

enum dns_type { DNS_A, DNS_AAAA, DNS_TYPE_COUNT };
extern const char *const dns_type_names[DNS_TYPE_COUNT];

enum dns_status {
	DNS_OK,
	DNS_NO_NAME, /* NXDOMAIN */
	DNS_NO_DATA, /* the name has no record of this type */
	DNS_SERVFAIL,
	DNS_REFUSED,   /* REFUSED, NOTIMP, FORMERR */
	DNS_TIMEOUT,   /* no server answered */
	DNS_MALFORMED, /* answered with something else */
	DNS_NO_SOCKET, /* the server cannot be reached from here: no socket, no route */
	DNS_BAD_NAME,  /* not a domain name */
	DNS_NO_MEMORY,
	DNS_STATUS_COUNT
};
extern const char *const dns_status_names[DNS_STATUS_COUNT]; /* for people, "NXDOMAIN" */

#define DNS_ADDRS_MAX 16 /* of one answer; more are dropped */

struct dns_answer {
	enum dns_status status;
	unsigned count; /* not 0 if DNS_OK */
	uint32_t ttl_s; /* what is left of it */
	bool cached;
	struct addr addrs[DNS_ADDRS_MAX]; /* port 0, in the server's order */
};

/* Opens a non-blocking close-on-exec socket of @type (SOCK_DGRAM, SOCK_STREAM) for @server (index into
 * config_dns.servers). -errno: none. */
typedef int dns_socket_fn(void *ctx, size_t server, sa_family_t family, int type);

struct resolver;
/* Keeps what it needs of @config. -errno. */
int resolver_new(struct resolver **ret, struct loop *loop, const struct config_dns *config,
		 dns_socket_fn *open, void *ctx);
void resolver_free(struct resolver *resolver); /* no ask is under way; NULL is fine */

struct dns_reverse;
/* Addresses in answers are put down there from now on, for resolver_name_of(). It outlives the resolver. */
void resolver_set_reverse(struct resolver *resolver, struct dns_reverse *reverse);
/* Which name @addr was an answer for, to whom on whichever resolver; false: unknown. @ret_name: 254 bytes. */
bool resolver_name_of(struct resolver *resolver, const struct addr *addr, char *ret_name);

struct dns_ask;
typedef void dns_done_fn(struct dns_ask *ask, const struct dns_answer *answer);

/* Embedded in who asks; it is free again when @done runs. */
struct dns_ask {
	struct list link;  /* of those who wait for the same answer */
	dns_done_fn *done; /* set by who asks */
};

/* 1: *@ret_now is the answer, @ask->done will not run; 0: @ask->done runs once, later; -errno: neither.
 * @name is copied, case does not matter. */
int resolver_ask(struct resolver *resolver, struct dns_ask *ask, size_t server, const char *name,
		 enum dns_type type, struct dns_answer *ret_now);
/* @ask->done will not run. The question goes on for the cache. Not asked is fine, zeroed as well. */
void resolver_cancel(struct dns_ask *ask);

/* With the forwarded ones (dns/forward.h). */
struct resolver_stats {
	uint64_t questions, cache_hits, coalesced, failures;
	size_t cached;
};
void resolver_stats(const struct resolver *resolver, struct resolver_stats *ret);
