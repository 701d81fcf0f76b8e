#include "flow/label.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "flow/worker.h"

static uint64_t now_since_epoch_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct seam_label label_make(uint64_t id, uint64_t age_ms, const struct label_names *names)
{
	struct seam_label label = {
		.id = id,
		.started_ms = now_since_epoch_ms() - age_ms,
		.rule = names->rule == CONFIG_NONE ? -1 : (int32_t)names->rule,
	};

	snprintf(label.inbound, sizeof(label.inbound), "%s", names->inbound->tag);
	snprintf(label.outbound, sizeof(label.outbound), "%s",
		 names->outbound ? names->outbound->tag : "");
	snprintf(label.host, sizeof(label.host), "%s", names->domain ? names->domain : "");
	return label;
}

uint64_t label_age_ms(const struct seam_label *label)
{
	uint64_t now = now_since_epoch_ms();

	return now > label->started_ms ? now - label->started_ms : 0; /* the clock was set */
}

const struct inbound *label_inbound(const struct flow_config *config,
				    const struct seam_label *label)
{
	for (size_t i = 0; i < config->inbound_count; i++)
		if (!strncmp(config->inbounds[i].tag, label->inbound, sizeof(label->inbound) - 1))
			return &config->inbounds[i];
	return NULL;
}

const struct outbound *label_outbound(const struct flow_config *config,
				      const struct seam_label *label)
{
	for (size_t i = 0; i < config->outbound_count; i++)
		if (!strncmp(config->outbounds[i].tag, label->outbound,
			     sizeof(label->outbound) - 1))
			return &config->outbounds[i];
	return NULL;
}
