/* build - from the configuration to dialers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "dial/direct.h"

int dialer_build(const struct config_outbound *config, struct dialer **ret)
{
	struct direct_dialer *direct;

	if (config->type == OUTBOUND_BLOCK) {
		*ret = NULL;
		return 0;
	}
	direct = calloc(1, sizeof(*direct));
	if (!direct)
		return -ENOMEM;
	*direct = (struct direct_dialer){ .base.ops = &dial_direct_ops,
					  .routing_mark = config->routing_mark,
					  .bind4 = config->bind4,
					  .bind6 = config->bind6,
					  .connect_timeout_ms = config->connect_timeout_ms };
	if (config->bind_interface)
		snprintf(direct->bind_interface, sizeof(direct->bind_interface), "%s",
			 config->bind_interface);
	*ret = &direct->base;
	return 0;
}

void dialer_free(struct dialer *dialer)
{
	if (dialer)
		free(container_of(dialer, struct direct_dialer, base));
}
