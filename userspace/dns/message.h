/* message - DNS messages as bytes (RFC 1035 4.1, RFC 6891): checked reads of what others sent, and answers.
 *
 * Nothing is read past @size. Names inside a message are stepped over and never followed: a compression
 * pointer ends a name, wherever it points. The one name that is read, the question's, has none.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "net/addr.h"

#define DNS_MESSAGE_MAX   65535
#define DNS_HEADER_SIZE   12
#define DNS_WIRE_NAME_MAX 255
#define DNS_TEXT_NAME_MAX 253
/* A header, a question and an OPT record. */
#define DNS_QUERY_MAX     (DNS_HEADER_SIZE + DNS_WIRE_NAME_MAX + 4 + 11)

enum dns_record_type {
	DNS_RECORD_A = 1,
	DNS_RECORD_SOA = 6,
	DNS_RECORD_AAAA = 28,
	DNS_RECORD_OPT = 41,
	DNS_RECORD_ANY = 255,
};
#define DNS_CLASS_IN 1

enum dns_rcode {
	DNS_RCODE_OK,
	DNS_RCODE_FORMERR,
	DNS_RCODE_SERVFAIL,
	DNS_RCODE_NXDOMAIN,
	DNS_RCODE_NOTIMP,
	DNS_RCODE_REFUSED,
	DNS_RCODE_BADVERS = 16, /* said only to those who sent an OPT record */
};

/* What somebody asks. */
struct dns_query {
	uint16_t id, type, class;
	uint16_t flags;       /* opcode, RD, AD, CD, as they are in a header */
	enum dns_rcode rcode; /* not DNS_RCODE_OK: to be answered with this, and not to be asked */
	bool has_question, edns, dnssec_ok;
	uint16_t udp_size;               /* the longest answer that is welcome by UDP */
	uint8_t wire_length;             /* of @wire */
	uint8_t wire[DNS_WIRE_NAME_MAX]; /* the name as it was sent */
	char name[DNS_TEXT_NAME_MAX +
		  1]; /* in lower case, no dot at the end; "" for the root and for names
					     that have no plain text */
};

/* -EBADMSG: not a question at all, nothing can be answered: no header, or an answer. */
int dns_query_read(const uint8_t *message, size_t size, struct dns_query *ret);
/* The same question as we ask it: with @id, an OPT record and no options. The size; @ret has
 * DNS_QUERY_MAX bytes. */
size_t dns_query_write(const struct dns_query *query, uint16_t id, uint8_t *ret);
/* An answer without records; @ret has DNS_QUERY_MAX bytes. */
size_t dns_query_refuse(const struct dns_query *query, enum dns_rcode rcode, uint8_t *ret);
/* An answer without records that says that there is more by TCP (TC); as above. */
size_t dns_query_truncate(const struct dns_query *query, uint8_t *ret);
/* Whether @message is a well-formed answer to @query. Its OPT record and whatever is behind that are cut off,
 * *@ret_size is what is left. -EBADMSG. */
int dns_answer_check(const struct dns_query *query, uint8_t *message, size_t size,
		     size_t *ret_size);
/* Adds an address of the question's name to an answer that ends with its answers, and returns its size. */
size_t dns_answer_add(uint8_t *message, size_t size, const struct addr *addr, uint32_t ttl_s);
/* Makes a checked answer one to @query: id, flags, the name in its case, an OPT record if it had one. There
 * is room for DNS_MESSAGE_MAX bytes. */
size_t dns_answer_fit(const struct dns_query *query, uint8_t *message, size_t size);
unsigned dns_answer_rcode(const uint8_t *message); /* of a header */
bool dns_answer_truncated(const uint8_t *message);
/* For how many seconds a checked answer holds: a negative one for at most 300 (RFC 2308), any for at most
 * a day; 0: not at all. */
uint32_t dns_answer_ttl(const struct dns_query *query, const uint8_t *message, size_t size);
/* Takes @age_s off the TTLs of a checked answer, none falls below 0. */
void dns_answer_age(uint8_t *message, size_t size, uint32_t age_s);
/* The addresses of a checked answer, up to @max, and the lowest TTL of them. */
size_t dns_answer_addrs(const uint8_t *message, size_t size, struct addr *ret, size_t max,
			uint32_t *ret_ttl_s);

/* Steps over a name at *@at. -EBADMSG. */
int dns_name_skip(const uint8_t *message, size_t size, size_t *at);

enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL, DNS_SECTION_COUNT };

struct dns_record {
	enum dns_section section;
	unsigned index; /* in its section */
	uint16_t type, class;
	uint32_t
		ttl_s; /* a TTL with the top bit set is 0 (RFC 2181 8); of an OPT record, its flags */
	size_t start, ttl_at, data, data_size; /* offsets */
};

struct dns_walk {
	const uint8_t *message;
	size_t size, at;
	unsigned counts[DNS_SECTION_COUNT];
	unsigned section, index; /* of the next */
};
int dns_walk_begin(struct dns_walk *walk, const uint8_t *message, size_t size); /* -EBADMSG */
/* 1: *@ret is the next record; 0: there is none; -EBADMSG. */
int dns_walk_next(struct dns_walk *walk, struct dns_record *ret);
