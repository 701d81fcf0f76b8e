/* destination - where a routed connection is dialed, for the data path and for `explain` alike. Pure. */
#pragma once
#include "dial/dial.h"
#include "route/route.h"

struct flow_config;

/* Whether the client of a server on @port waits for it to speak, so that there is nothing to sniff. */
bool destination_speaks_first(const struct flow_config *config, uint16_t port);
/* The name to dial: that of the rules, else @sniffed if that is to be dialed (NULL: it is not). */
const char *destination_name(const struct route_options *options, const char *sniffed);
/* What the rules say (@options, and @name of destination_name()) comes before what the outbound says
 * (@override; nothing in it: nothing), and both before what the client wanted. @options NULL: no rules. */
struct target destination_target(const struct route_options *options, const char *name,
				 const struct target *override, const struct addr *client);
