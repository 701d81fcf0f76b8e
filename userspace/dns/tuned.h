/* tuned - a resolver with other patience than the usual, and another resolv.conf: for tests. */
#pragma once
#include "dns/channel.h"

int resolver_new_tuned(struct resolver **ret, struct loop *loop, const struct config_dns *config,
		       dns_socket_fn *open, void *ctx, const struct dns_tuning *tuning);
