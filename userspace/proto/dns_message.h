/* dns_message - whether bytes are a question to a DNS server (RFC 1035 4.1), and for which name. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DNS_MESSAGE_HEADER 12

/* A whole message, nothing behind it: a query with at least one question and no answer. @ret_name: of the
 * first question, as by sniff_domain(), "" where that says no (the root, say). */
bool dns_message_is_query(const uint8_t *data, size_t len, char *ret_name);
/* Whether it can become one, by as much of the header as is there. */
bool dns_message_may_be_query(const uint8_t *data, size_t len);
