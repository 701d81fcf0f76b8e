/* key - what a question is about, in one form: the name in lower case, without a dot at its end. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/hash.h"
#include "dns/resolver.h"

#define DNS_NAME_MAX  253 /* as text (RFC 1035 2.3.4) */
#define DNS_LABEL_MAX 63

struct dns_key {
	size_t server;
	enum dns_type type;
	size_t length;
	uint32_t hash; /* every bit of it is as good as another */
	char name[DNS_NAME_MAX + 1];
};

/* @secret keeps clients, who choose the names, from choosing the hashes. -EINVAL: no domain name. */
int dns_key_init(struct dns_key *key, const struct hash_key *secret, size_t server,
		 const char *name, enum dns_type type);
bool dns_key_equal(const struct dns_key *a, const struct dns_key *b);
/* "localhost" and what is below it (RFC 6761 6.3): never asked. */
bool dns_key_is_localhost(const struct dns_key *key);
