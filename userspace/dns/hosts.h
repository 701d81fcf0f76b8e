/* hosts - the names of /etc/hosts (hosts(5)), read again when it has changed. Its first MiB counts; lines that
 * are none are passed over, and a file that cannot be read is an empty one.
 */
#pragma once
#include "dns/key.h"

struct dns_hosts;
/* @path lives as long. -ENOMEM. */
int dns_hosts_new(struct dns_hosts **ret, const char *path);
void dns_hosts_free(struct dns_hosts *hosts); /* NULL is fine */
/* false: @key's name is not there. As with getaddrinfo() one that is there is never asked for: without an address
 * of @key's type it is DNS_NO_DATA. */
bool dns_hosts_get(struct dns_hosts *hosts, const struct dns_key *key, struct dns_answer *ret);
