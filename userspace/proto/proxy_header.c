/* proxy_header - the PROXY protocol: who the client is, told to a server that trusts us, before all bytes.
 *
 * Both addresses must be of one family; else the server is told that nothing is known (v1: UNKNOWN, v2:
 * LOCAL), and takes what it sees. There is no answer.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "proto/handshake.h"

#define V2_PROXY 0x21
#define V2_LOCAL 0x20
#define V2_TCP4  0x11
#define V2_TCP6  0x21
#define V2_NONE  0x00

struct proxy_header {
	struct addr source, destination;
};

static int header_init(void *state, const struct handshake_target *target,
		       const struct handshake_config *config)
{
	struct proxy_header *p = state;

	*p = (struct proxy_header){ .source = target->source, .destination = target->original };
	if (p->destination.family == AF_UNSPEC && !target->domain)
		p->destination = target->addr;
	return 0;
}

static bool is_known(const struct proxy_header *p)
{
	return (p->source.family == AF_INET || p->source.family == AF_INET6) &&
	       p->source.family == p->destination.family;
}

static const void *bytes_of(const struct addr *addr)
{
	return addr->family == AF_INET ? (const void *)&addr->v4 : &addr->v6;
}

static enum handshake_result v1_step(void *state, struct handshake_step *step)
{
	const struct proxy_header *p = state;
	char source[INET6_ADDRSTRLEN], destination[INET6_ADDRSTRLEN];
	char *out = (char *)step->out;
	int n;

	if (is_known(p))
		n = snprintf(
			out, sizeof(step->out), "PROXY TCP%c %s %s %u %u\r\n",
			p->source.family == AF_INET ? '4' : '6',
			inet_ntop(p->source.family, bytes_of(&p->source), source, sizeof(source)),
			inet_ntop(p->destination.family, bytes_of(&p->destination), destination,
				  sizeof(destination)),
			p->source.port, p->destination.port);
	else
		n = snprintf(out, sizeof(step->out), "PROXY UNKNOWN\r\n");
	step->out_len = (size_t)n;
	return HANDSHAKE_DONE;
}

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
	memcpy(at, data, len);
	return at + len;
}

static enum handshake_result v2_step(void *state, struct handshake_step *step)
{
	static const char signature[12] = "\r\n\r\n\0\r\nQUIT\n";
	const struct proxy_header *p = state;
	size_t addr_len = p->source.family == AF_INET ? sizeof(struct in_addr)
						      : sizeof(struct in6_addr);
	in_port_t ports[2] = { htons(p->source.port), htons(p->destination.port) };
	bool known = is_known(p);
	uint16_t length = htons(known ? (uint16_t)(2 * addr_len + sizeof(ports)) : 0);
	uint8_t *at = put(step->out, signature, sizeof(signature));

	*at++ = known ? V2_PROXY : V2_LOCAL;
	*at++ = !known ? V2_NONE : p->source.family == AF_INET ? V2_TCP4 : V2_TCP6;
	at = put(at, &length, sizeof(length));
	if (known) {
		at = put(at, bytes_of(&p->source), addr_len);
		at = put(at, bytes_of(&p->destination), addr_len);
		at = put(at, ports, sizeof(ports));
	}
	step->out_len = (size_t)(at - step->out);
	return HANDSHAKE_DONE;
}

const struct handshake_ops proxy_v1_handshake = {
	.name = "PROXY protocol v1",
	.no_datagrams = "proxy_protocol carries no UDP",
	.state_size = sizeof(struct proxy_header),
	.init = header_init,
	.step = v1_step,
	.deferred = true,
};

const struct handshake_ops proxy_v2_handshake = {
	.name = "PROXY protocol v2",
	.no_datagrams = "proxy_protocol carries no UDP",
	.state_size = sizeof(struct proxy_header),
	.init = header_init,
	.step = v2_step,
	.deferred = true,
};
