/* label - what a pair of packets tells of its flow or session: to people, and to the next daemon, whose
 * configuration may be another (seam/abi.h). Longer tags and names are cut off. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "seam/abi.h"

struct flow_config;
struct inbound;
struct outbound;

/* @rule: index, or CONFIG_NONE. @outbound and @domain may be NULL. */
struct label_names {
	const struct inbound *inbound;
	const struct outbound *outbound;
	const char *domain;
	size_t rule;
};
struct seam_label label_make(uint64_t id, uint64_t age_ms, const struct label_names *names);
uint64_t label_age_ms(const struct seam_label *label);
/* NULL: there is none of this tag any more. */
const struct inbound *label_inbound(const struct flow_config *config,
				    const struct seam_label *label);
const struct outbound *label_outbound(const struct flow_config *config,
				      const struct seam_label *label);
