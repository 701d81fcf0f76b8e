/* answer - the words for what DNS said. */
#include "base/names.h"
#include "dns/resolver.h"

NAME_TABLE(dns_type_names, DNS_TYPE_COUNT, "A", "AAAA");
NAME_TABLE(dns_status_names, DNS_STATUS_COUNT, "ok", "NXDOMAIN", "no such record", "SERVFAIL",
	   "refused", "timeout", "malformed answer", "server unreachable", "not a domain name",
	   "out of memory");
