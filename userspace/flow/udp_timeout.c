/* udp_timeout - how long a session may be quiet. */
#include "flow/udp.h"

static uint32_t of_protocol(enum protocol protocol)
{
	switch (protocol) {
	case PROTOCOL_DNS:
	case PROTOCOL_NTP:
	case PROTOCOL_STUN:
		return 10000;
	case PROTOCOL_QUIC:
	case PROTOCOL_DTLS:
		return 30000;
	default:
		return 0;
	}
}

static enum protocol of_port(uint16_t port)
{
	switch (port) {
	case 53:
		return PROTOCOL_DNS;
	case 123:
		return PROTOCOL_NTP;
	case 443:
		return PROTOCOL_QUIC;
	case 3478:
		return PROTOCOL_STUN;
	default:
		return PROTOCOL_UNKNOWN;
	}
}

uint32_t udp_timeout_ms(const struct route_options *options, enum protocol protocol, uint16_t port,
			uint32_t inbound_ms)
{
	uint32_t ms;

	if (options && options->has_udp_timeout)
		return options->udp_timeout_ms;
	ms = of_protocol(protocol);
	if (!ms)
		ms = of_protocol(of_port(port));
	return ms ? ms : inbound_ms;
}
