/* build - from the configuration to what the workers share. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "flow/worker.h"

static int build_inbounds(const struct config *config, struct flow_config *f)
{
	f->inbounds = calloc(config->inbound_count, sizeof(*f->inbounds));
	if (!f->inbounds)
		return -ENOMEM;
	f->inbound_count = config->inbound_count;
	for (size_t i = 0; i < f->inbound_count; i++) {
		f->inbounds[i] = (struct inbound){ .tag = strdup(config->inbounds[i].tag),
						   .listen = config->inbounds[i].listen };
		if (!f->inbounds[i].tag)
			return -ENOMEM;
	}
	return 0;
}

static int build_outbounds(const struct config *config, struct flow_config *f)
{
	f->outbounds = calloc(config->outbound_count, sizeof(*f->outbounds));
	if (!f->outbounds)
		return -ENOMEM;
	f->outbound_count = config->outbound_count;
	for (size_t i = 0; i < f->outbound_count; i++) {
		const struct config_outbound *from = &config->outbounds[i];
		struct outbound *to = &f->outbounds[i];
		int r;

		*to = (struct outbound){ .tag = strdup(from->tag),
					 .keep_alive = {
						 .enabled = from->keep_alive,
						 .idle_ms = from->keep_alive_idle_ms,
						 .interval_ms = from->keep_alive_interval_ms,
						 .count = from->keep_alive_count } };
		r = to->tag ? dialer_build(from, &to->dialer) : -ENOMEM;
		if (r)
			return r;
	}
	f->final = &f->outbounds[config->final_outbound];
	return 0;
}

int flow_config_build(const struct config *config, struct flow_config **ret)
{
	struct flow_config *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->relay = config->relay;
	f->workers = config->workers;
	f->max_flows = config->limits.max_flows;
	r = build_inbounds(config, f);
	if (!r)
		r = build_outbounds(config, f);
	if (r) {
		flow_config_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void flow_config_free(struct flow_config *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->inbound_count; i++)
		free(f->inbounds[i].tag);
	for (size_t i = 0; i < f->outbound_count; i++) {
		free(f->outbounds[i].tag);
		dialer_free(f->outbounds[i].dialer);
	}
	free(f->inbounds);
	free(f->outbounds);
	free(f);
}
