/* socks5 - CONNECT of RFC 1928 with no authentication, or with a user name and password (RFC 1929) if
 * there are any. Each message is taken whole; a refusal is one as soon as its code is there. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "base/names.h"
#include "proto/handshake.h"

#define VERSION       5
#define AUTH_VERSION  1
#define METHOD_NONE   0
#define METHOD_USER   2
#define METHOD_REFUSE 0xff
#define CONNECT       1
#define REPLY_HEAD    4 /* version, reply, reserved, type of the address */

enum address_type { TYPE_IPV4 = 1, TYPE_DOMAIN = 3, TYPE_IPV6 = 4 };

enum stage { GREET, METHOD, AUTHENTICATION, REPLY };

struct socks5 {
	enum stage stage;
	struct handshake_target target;
	const struct handshake_config *config;
};

static const struct refusal {
	int err;
	const char *why;
} refusals[] = {
	{ -EREMOTEIO, "socks5: the proxy failed" },
	{ -EREMOTEIO, "socks5: general failure" },
	{ -EACCES, "socks5: not allowed by the proxy's rules" },
	{ -ENETUNREACH, "socks5: network unreachable" },
	{ -EHOSTUNREACH, "socks5: host unreachable" },
	{ -ECONNREFUSED, "socks5: connection refused" },
	{ -ETIMEDOUT, "socks5: TTL expired" },
	{ -EOPNOTSUPP, "socks5: CONNECT is not supported" },
	{ -EAFNOSUPPORT, "socks5: this type of address is not supported" },
};

static enum handshake_result bad(struct handshake_step *step, const char *why)
{
	step->why = why;
	return HANDSHAKE_BAD;
}

static enum handshake_result refuse(struct handshake_step *step, int err, const char *why)
{
	step->err = err;
	step->why = why;
	return HANDSHAKE_REFUSED;
}

static void put(struct handshake_step *step, const void *data, size_t len)
{
	memcpy(step->out + step->out_len, data, len);
	step->out_len += len;
}

static void put_byte(struct handshake_step *step, size_t byte)
{
	step->out[step->out_len++] = (uint8_t)byte;
}

static void put_text(struct handshake_step *step, const char *text)
{
	put_byte(step, text ? strlen(text) : 0);
	if (text)
		put(step, text, strlen(text));
}

static bool too_long(const char *text)
{
	return text && strlen(text) > UINT8_MAX;
}

static int socks5_init(void *state, const struct handshake_target *target,
		       const struct handshake_config *config)
{
	if (too_long(target->domain) || too_long(config->username) || too_long(config->password))
		return -ENAMETOOLONG;
	if (target->domain ? !*target->domain : target->addr.family == AF_UNSPEC)
		return -EINVAL;
	*(struct socks5 *)state = (struct socks5){ .target = *target, .config = config };
	return 0;
}

static enum handshake_result greet(struct socks5 *s, struct handshake_step *step)
{
	put_byte(step, VERSION);
	put_byte(step, s->config->username ? 2 : 1);
	put_byte(step, METHOD_NONE);
	if (s->config->username)
		put_byte(step, METHOD_USER);
	s->stage = METHOD;
	return HANDSHAKE_MORE;
}

static enum handshake_result request(struct socks5 *s, struct handshake_step *step)
{
	const struct addr *addr = &s->target.addr;

	put_byte(step, VERSION);
	put_byte(step, CONNECT);
	put_byte(step, 0);
	if (s->target.domain) {
		put_byte(step, TYPE_DOMAIN);
		put_text(step, s->target.domain);
	} else if (addr->family == AF_INET) {
		put_byte(step, TYPE_IPV4);
		put(step, &addr->v4, sizeof(addr->v4));
	} else {
		put_byte(step, TYPE_IPV6);
		put(step, &addr->v6, sizeof(addr->v6));
	}
	put_byte(step, addr->port >> 8);
	put_byte(step, addr->port & 0xff);
	s->stage = REPLY;
	return HANDSHAKE_MORE;
}

static enum handshake_result take_method(struct socks5 *s, struct handshake_step *step)
{
	if (step->in_len && step->in[0] != VERSION)
		return bad(step, "the proxy does not speak SOCKS5");
	if (step->in_len < 2)
		return HANDSHAKE_MORE;
	step->eaten = 2;
	switch (step->in[1]) {
	case METHOD_NONE:
		return request(s, step);
	case METHOD_USER:
		if (!s->config->username)
			break;
		put_byte(step, AUTH_VERSION);
		put_text(step, s->config->username);
		put_text(step, s->config->password);
		s->stage = AUTHENTICATION;
		return HANDSHAKE_MORE;
	case METHOD_REFUSE:
		return refuse(step, -EACCES,
			      s->config->username
				      ? "socks5: no user name and password wanted"
				      : "socks5: the proxy wants a user name and password");
	default:
		break;
	}
	return bad(step, "socks5: a method that was not offered");
}

static enum handshake_result take_verdict(struct socks5 *s, struct handshake_step *step)
{
	if (step->in_len && step->in[0] != AUTH_VERSION)
		return bad(step, "socks5: not an answer to a password");
	if (step->in_len < 2)
		return HANDSHAKE_MORE;
	step->eaten = 2;
	if (step->in[1])
		return refuse(step, -EACCES, "socks5: wrong user name or password");
	return request(s, step);
}

/* With its length byte; 0: not known yet, -1: no such type. */
static int address_length(const struct handshake_step *step)
{
	switch (step->in[REPLY_HEAD - 1]) {
	case TYPE_IPV4:
		return sizeof(struct in_addr);
	case TYPE_IPV6:
		return sizeof(struct in6_addr);
	case TYPE_DOMAIN:
		return step->in_len > REPLY_HEAD ? 1 + step->in[REPLY_HEAD] : 0;
	default:
		return -1;
	}
}

/* The address that the proxy connects from is of no use, but has to be taken. */
static enum handshake_result take_reply(struct handshake_step *step)
{
	int len;

	if (step->in_len && step->in[0] != VERSION)
		return bad(step, "socks5: not a reply");
	if (step->in_len >= 2 && step->in[1]) {
		uint8_t code = step->in[1] < ARRAY_SIZE(refusals) ? step->in[1] : 0;

		return refuse(step, refusals[code].err, refusals[code].why);
	}
	if (step->in_len < REPLY_HEAD)
		return HANDSHAKE_MORE;
	len = address_length(step);
	if (len < 0)
		return bad(step, "socks5: a reply with an unknown type of address");
	if (!len || step->in_len < REPLY_HEAD + (size_t)len + sizeof(in_port_t))
		return HANDSHAKE_MORE;
	step->eaten = REPLY_HEAD + (size_t)len + sizeof(in_port_t);
	return HANDSHAKE_DONE;
}

static enum handshake_result socks5_step(void *state, struct handshake_step *step)
{
	struct socks5 *s = state;

	switch (s->stage) {
	case GREET:
		return greet(s, step);
	case METHOD:
		return take_method(s, step);
	case AUTHENTICATION:
		return take_verdict(s, step);
	case REPLY:
		return take_reply(step);
	}
	assert(false);
	return HANDSHAKE_BAD;
}

const struct handshake_ops socks5_handshake = {
	.name = "socks5",
	.state_size = sizeof(struct socks5),
	.init = socks5_init,
	.step = socks5_step,
};
