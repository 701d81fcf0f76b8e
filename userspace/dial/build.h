/* build - from the configuration to the dialers of all outbounds, which refer to each other by detour. */
#pragma once
#include "dial/dial.h"

struct dialers;
struct group_dialer;

/* Opens network namespaces and asks the kernel for what the options need. -errno with @reason
 * (256 bytes): which outbound, which call, what to do. */
int dialers_new(struct dialers **ret, const struct config *config, char *reason);
void dialers_free(struct dialers *dialers); /* NULL is fine */
/* NULL: a `block` outbound. */
const struct dialer *dialers_get(const struct dialers *dialers, size_t outbound);
/* NULL: it is no group. Its choice may be changed at any time, by group_select(). */
struct group_dialer *dialers_group(const struct dialers *dialers, size_t outbound);
/* A dns_socket_fn with struct dialers for @ctx: as the server's detour opens its sockets; without one
 * marked like those of route.final and nothing else. */
int dialers_dns_socket(void *ctx, size_t server, sa_family_t family, int type);
