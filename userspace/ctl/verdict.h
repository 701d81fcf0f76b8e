/* verdict - what the rules have decided as JSON, with what comes of it: the chain of outbounds and the options
 * of the sockets at its end. The names of the members are frozen: scripts read them. */
#pragma once
#include <jansson.h>
#include "flow/worker.h"

/* All of these: a new reference, NULL: out of memory. */
json_t *verdict_options(const struct route_options *options);
/* Tags from @outbound on, along detours and what groups have selected, as of now. */
json_t *verdict_chain(const struct flow_config *config, size_t outbound);
/* Of the last outbound of the chain, under the names that the configuration has for them. */
json_t *verdict_sockets(const struct flow_config *config, size_t outbound);
