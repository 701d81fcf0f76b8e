#include "flow/hijack.h"
#include <errno.h>
#include "flow/worker.h"

int hijack_start(struct tcp_flow *f, void (*wake)(void *flow))
{
	const struct dns_flow_request request = { .loop = &f->worker->loop,
						  .resolver = f->worker->dial_env.resolver,
						  .rules = f->worker->config->rules,
						  .meta = *decide_meta(f->decide),
						  .client = &f->side[CLIENT],
						  .wake = wake,
						  .owner = f };

	return dns_flow_start(&f->dns, &request);
}

enum flow_end hijack_run(struct tcp_flow *f)
{
	int r = dns_flow_run(f->dns);

	if (r < 0)
		return r == -ETIMEDOUT ? END_IDLE : END_CLIENT_RESET;
	return r ? END_DONE : END_NONE;
}
