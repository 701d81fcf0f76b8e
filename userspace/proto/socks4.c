/* socks4 - CONNECT of SOCKS4 for an IPv4 address, of 4a for a name. No password: the user name is a claim. */
#include <errno.h>
#include <string.h>
#include "proto/handshake.h"

#define VERSION   4
#define CONNECT   1
#define ID_MAX    255
#define REPLY_LEN 8 /* version 0, code, port, address */

enum reply { GRANTED = 90, REJECTED, NO_IDENT, OTHER_IDENT };

struct socks4 {
	bool asked;
	struct handshake_target target;
	const char *username;
};

/* 0.0.0.x is how 4a says that a name follows. */
static int check_addr(const struct addr *addr)
{
	if (addr->family != AF_INET)
		return -EAFNOSUPPORT;
	return ntohl(addr->v4.s_addr) >> 8 ? 0 : -EINVAL;
}

static int socks4_init(void *state, const struct handshake_target *target,
		       const struct handshake_config *config)
{
	const char *username = config->username ? config->username : "";
	int r = 0;

	if (!target->domain)
		r = check_addr(&target->addr);
	else if (!*target->domain)
		r = -EINVAL;
	else if (strlen(target->domain) > ID_MAX)
		r = -ENAMETOOLONG;
	if (!r && strlen(username) > ID_MAX)
		r = -ENAMETOOLONG;
	if (!r)
		*(struct socks4 *)state = (struct socks4){ .target = *target,
							   .username = username };
	return r;
}

/* With the zero byte behind it. */
static void put_text(struct handshake_step *step, const char *text)
{
	size_t len = strlen(text) + 1;

	memcpy(step->out + step->out_len, text, len);
	step->out_len += len;
}

static void ask(struct socks4 *s, struct handshake_step *step)
{
	static const uint8_t name_follows[4] = { 0, 0, 0, 1 };
	const struct addr *addr = &s->target.addr;

	step->out[0] = VERSION;
	step->out[1] = CONNECT;
	step->out[2] = (uint8_t)(addr->port >> 8);
	step->out[3] = (uint8_t)addr->port;
	memcpy(step->out + 4, s->target.domain ? name_follows : (const uint8_t *)&addr->v4, 4);
	step->out_len = 8;
	put_text(step, s->username);
	if (s->target.domain)
		put_text(step, s->target.domain);
	s->asked = true;
}

static enum handshake_result refuse(struct handshake_step *step, uint8_t code)
{
	step->err = code == NO_IDENT || code == OTHER_IDENT ? -EACCES : -EREMOTEIO;
	switch (code) {
	case REJECTED:
		step->why = "socks4: rejected or failed";
		break;
	case NO_IDENT:
		step->why = "socks4: the proxy asked for identd in vain";
		break;
	case OTHER_IDENT:
		step->why = "socks4: identd names another user";
		break;
	default:
		step->why = "socks4: the proxy failed";
	}
	return HANDSHAKE_REFUSED;
}

static enum handshake_result socks4_step(void *state, struct handshake_step *step)
{
	struct socks4 *s = state;

	if (!s->asked) {
		ask(s, step);
		return HANDSHAKE_MORE;
	}
	if (step->in_len && step->in[0]) {
		step->why = "the proxy does not speak SOCKS4";
		return HANDSHAKE_BAD;
	}
	if (step->in_len >= 2 && step->in[1] != GRANTED)
		return refuse(step, step->in[1]);
	if (step->in_len < REPLY_LEN)
		return HANDSHAKE_MORE;
	step->eaten = REPLY_LEN;
	return HANDSHAKE_DONE;
}

const struct handshake_ops socks4_handshake = {
	.name = "socks4",
	.no_datagrams = "socks4 carries no UDP",
	.state_size = sizeof(struct socks4),
	.init = socks4_init,
	.step = socks4_step,
};
