/* reply - what c-ares brought, as an answer. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "dns/resolver.h"

/* @status is c-ares', @message may be NULL. An answer with ttl_s 0 is not to be cached. */
void dns_reply_read(int status, enum dns_type type, const uint8_t *message, size_t size,
		    struct dns_answer *ret);
