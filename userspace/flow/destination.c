#include "flow/destination.h"
#include "flow/worker.h"

bool destination_speaks_first(const struct flow_config *config, uint16_t port)
{
	for (size_t i = 0; i < config->server_first_port_count; i++)
		if (config->server_first_ports[i] == port)
			return true;
	return false;
}

const char *destination_name(const struct route_options *options, const char *sniffed)
{
	const char *override = options->override_address;
	struct addr addr;

	if (override)
		return addr_parse(override, 0, &addr) ? override : NULL;
	return sniffed;
}

static bool names_nothing(const struct target *target)
{
	return !target->domain && target->addr.family == AF_UNSPEC;
}

struct target destination_target(const struct route_options *options, const char *name,
				 const struct target *override, const struct addr *client)
{
	struct target target = { .domain = name };
	in_port_t port = options && options->override_port ? options->override_port
							   : override->addr.port;

	if (!name && options && options->override_address)
		(void)addr_parse(options->override_address, 0, &target.addr);
	if (names_nothing(&target))
		target = *override;
	if (names_nothing(&target))
		target.addr = *client;
	target.addr.port = port ? port : client->port;
	return target;
}
