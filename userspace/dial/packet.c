#include "dial/packet.h"
#include <errno.h>

void packet_listen(struct packet_way *way, packet_ready_fn *ready, void *owner)
{
	way->ready = ready;
	way->owner = owner;
}

int packet_local(struct packet_way *way, struct addr *ret)
{
	return way->ops->local ? way->ops->local(way, ret) : -EOPNOTSUPP;
}

void packet_close(struct packet_way *way)
{
	if (way)
		way->ops->close(way);
}
