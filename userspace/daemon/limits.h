/* limits - how many connections and sessions the limit on open files allows. */
#pragma once
#include "config/config.h"

/* Raises the soft limit on open files to the hard one and fills in @limits what the configuration leaves open
 * (0); what it asks for and does not fit is made less, with a warning. @udp: some inbound takes it. */
void limits_fit(struct config_limits *limits, bool udp);
