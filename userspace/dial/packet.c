#include "dial/packet.h"

void packet_listen(struct packet_way *way, packet_ready_fn *ready, void *owner)
{
	way->ready = ready;
	way->owner = owner;
}

void packet_close(struct packet_way *way)
{
	if (way)
		way->ops->close(way);
}
