#include "dial/packet.h"
#include <errno.h>
#include "proto/handshake.h"

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

int packet_supported(const struct handshake_ops *ops, const char **ret_call)
{
	if (ops == &http_connect_handshake)
		*ret_call = "http carries no UDP";
	else if (ops == &socks4_handshake)
		*ret_call = "socks4 carries no UDP";
	else if (ops == &proxy_v1_handshake || ops == &proxy_v2_handshake)
		*ret_call = "proxy_protocol carries no UDP";
	else
		*ret_call = "this proxy carries no UDP";
	return -EPROTONOSUPPORT;
}
