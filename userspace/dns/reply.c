#include "dns/reply.h"
#include <string.h>
#include "base/names.h"
#include "dns/cares.h"
#include "dns/soa.h"

#define TTL_MIN_S          1
#define TTL_MAX_S          86400
#define NEGATIVE_TTL_MAX_S 300
/* Long enough that clients which try again do not ask the server each time, short enough to forget
 * (RFC 2308 7 allows five minutes). */
#define FAILURE_TTL_S      1

#define RECORDS_MAX        64 /* read of an answer, before duplicates are dropped */

static uint32_t clamp(int64_t value, uint32_t min, uint32_t max)
{
	if (value < (int64_t)min)
		return min;
	return value > (int64_t)max ? max : (uint32_t)value;
}

static void add(struct dns_answer *answer, const struct addr *addr, int ttl_s)
{
	uint32_t ttl = clamp(ttl_s, TTL_MIN_S, TTL_MAX_S);

	if (!answer->count || ttl < answer->ttl_s)
		answer->ttl_s = ttl;
	for (unsigned i = 0; i < answer->count; i++)
		if (addr_equal(&answer->addrs[i], addr))
			return;
	if (answer->count < DNS_ADDRS_MAX)
		answer->addrs[answer->count++] = *addr;
}

/* The TTLs that c-ares gives are the lowest of the chain of CNAMEs to the address. */
static int read_a(const uint8_t *message, int size, struct dns_answer *answer)
{
	struct ares_addrttl records[RECORDS_MAX];
	int count = RECORDS_MAX;
	int status = ares_parse_a_reply(message, size, NULL, records, &count);

	for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
		struct addr addr = { .family = AF_INET, .v4 = records[i].ipaddr };

		add(answer, &addr, records[i].ttl);
	}
	return status;
}

static int read_aaaa(const uint8_t *message, int size, struct dns_answer *answer)
{
	struct ares_addr6ttl records[RECORDS_MAX];
	int count = RECORDS_MAX;
	int status = ares_parse_aaaa_reply(message, size, NULL, records, &count);

	for (int i = 0; status == ARES_SUCCESS && i < count; i++) {
		struct addr addr = { .family = AF_INET6 };

		memcpy(&addr.v6, &records[i].ip6addr, sizeof(addr.v6));
		if (!IN6_IS_ADDR_V4MAPPED(&addr.v6)) /* no address of a host on the network */
			add(answer, &addr, records[i].ttl);
	}
	return status;
}

static void read_negative(enum dns_status status, const uint8_t *message, size_t size,
			  struct dns_answer *answer)
{
	uint32_t ttl_s;

	answer->status = status;
	if (message && !dns_soa_ttl(message, size, &ttl_s))
		answer->ttl_s = clamp(ttl_s, TTL_MIN_S, NEGATIVE_TTL_MAX_S);
}

static void read_failure(enum dns_status status, struct dns_answer *answer)
{
	answer->status = status;
	answer->ttl_s = status == DNS_NO_MEMORY ? 0 : FAILURE_TTL_S;
}

static void read_addresses(enum dns_type type, const uint8_t *message, size_t size,
			   struct dns_answer *answer)
{
	int status = type == DNS_A ? read_a(message, (int)size, answer)
				   : read_aaaa(message, (int)size, answer);

	if (status == ARES_ENOMEM)
		read_failure(DNS_NO_MEMORY, answer);
	else if (status != ARES_SUCCESS && status != ARES_ENODATA)
		read_failure(DNS_MALFORMED, answer);
	else if (answer->count)
		answer->status = DNS_OK;
	else
		read_negative(DNS_NO_DATA, message, size, answer);
}

/* Every other status is a server out of reach: no socket, no route, connection refused. */
static enum dns_status failure_of(int status)
{
	static const struct {
		int status;
		enum dns_status ours;
	} table[] = {
		{ ARES_ESERVFAIL, DNS_SERVFAIL }, { ARES_EREFUSED, DNS_REFUSED },
		{ ARES_ENOTIMP, DNS_REFUSED },    { ARES_EFORMERR, DNS_REFUSED },
		{ ARES_ETIMEOUT, DNS_TIMEOUT },   { ARES_EBADRESP, DNS_MALFORMED },
		{ ARES_EBADNAME, DNS_BAD_NAME },  { ARES_ENOMEM, DNS_NO_MEMORY },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].status == status)
			return table[i].ours;
	return DNS_NO_SOCKET;
}

#define HEADER_SIZE 12
#define RCODE_MASK  0x0f

/* What ares_query() does not know it calls a success. */
static int status_of(int status, const uint8_t *message, size_t size)
{
	if (status != ARES_SUCCESS)
		return status;
	return message && size >= HEADER_SIZE && !(message[3] & RCODE_MASK) ? ARES_SUCCESS
									    : ARES_EBADRESP;
}

void dns_reply_read(int status, enum dns_type type, const uint8_t *message, size_t size,
		    struct dns_answer *ret)
{
	*ret = (struct dns_answer){ 0 };
	status = status_of(status, message, size);
	if (status == ARES_SUCCESS)
		read_addresses(type, message, size, ret);
	else if (status == ARES_ENOTFOUND)
		read_negative(DNS_NO_NAME, message, size, ret);
	else if (status == ARES_ENODATA)
		read_negative(DNS_NO_DATA, message, size, ret);
	else
		read_failure(failure_of(status), ret);
}
