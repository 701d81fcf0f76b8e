/* vless - VLESS version 0 without flow: one header before the client's first bytes, one before the server's.
 * Datagrams follow as frames.h says.
 *
 * No encryption and no integrity of its own: it is for networks that are trusted, or inside a tunnel. A
 * server that does not know the UUID hangs up, or plays another one; there is no refusal.
 */
#include <errno.h>
#include <string.h>
#include "proto/handshake.h"

#define VERSION     0
#define UUID_LEN    16
#define ANSWER_HEAD 2 /* version, length of what it adds */

enum command { TCP = 1, UDP = 2 };

enum address_type { TYPE_IPV4 = 1, TYPE_DOMAIN = 2, TYPE_IPV6 = 3 };

struct vless {
	struct handshake_target target;
	const uint8_t *uuid;
};

static int vless_init(void *state, const struct handshake_target *target,
		      const struct handshake_config *config)
{
	if (target->domain && strlen(target->domain) > UINT8_MAX)
		return -ENAMETOOLONG;
	if (!config->uuid || (target->domain ? !*target->domain : target->addr.family == AF_UNSPEC))
		return -EINVAL;
	*(struct vless *)state = (struct vless){ .target = *target, .uuid = config->uuid };
	return 0;
}

static uint8_t *put(uint8_t *at, const void *data, size_t len)
{
	memcpy(at, data, len);
	return at + len;
}

static enum handshake_result vless_step(void *state, struct handshake_step *step)
{
	const struct vless *v = state;
	const struct addr *addr = &v->target.addr;
	uint8_t *at = step->out;

	*at++ = VERSION;
	at = put(at, v->uuid, UUID_LEN);
	*at++ = 0; /* nothing added */
	*at++ = v->target.datagrams ? UDP : TCP;
	*at++ = (uint8_t)(addr->port >> 8);
	*at++ = (uint8_t)addr->port;
	if (v->target.domain) {
		*at++ = TYPE_DOMAIN;
		*at++ = (uint8_t)strlen(v->target.domain);
		at = put(at, v->target.domain, strlen(v->target.domain));
	} else if (addr->family == AF_INET) {
		*at++ = TYPE_IPV4;
		at = put(at, &addr->v4, sizeof(addr->v4));
	} else {
		*at++ = TYPE_IPV6;
		at = put(at, &addr->v6, sizeof(addr->v6));
	}
	step->out_len = (size_t)(at - step->out);
	return HANDSHAKE_DONE;
}

static enum handshake_result vless_answer(void *state, struct handshake_step *step)
{
	if (step->in_len && step->in[0] != VERSION) {
		step->why = "the proxy does not speak VLESS 0";
		return HANDSHAKE_BAD;
	}
	if (step->in_len < ANSWER_HEAD || step->in_len < ANSWER_HEAD + (size_t)step->in[1])
		return HANDSHAKE_MORE;
	step->eaten = ANSWER_HEAD + (size_t)step->in[1];
	return HANDSHAKE_DONE;
}

const struct handshake_ops vless_handshake = {
	.name = "vless",
	.state_size = sizeof(struct vless),
	.init = vless_init,
	.step = vless_step,
	.deferred = true,
	.answer = vless_answer,
};
