/* socks5 - CONNECT and UDP ASSOCIATE of RFC 1928 with no authentication, or with a user name and password
 * (RFC 1929) if there are any. Each message is taken whole; a refusal is one as soon as its code is there. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "base/names.h"
#include "proto/handshake.h"
#include "proto/socks5_address.h"

#define VERSION       5
#define AUTH_VERSION  1
#define METHOD_NONE   0
#define METHOD_USER   2
#define METHOD_REFUSE 0xff
#define REPLY_HEAD    3 /* version, reply, reserved */
#define NOT_SUPPORTED 7

enum command { CONNECT = 1, UDP_ASSOCIATE = 3 };

enum stage { GREET, METHOD, AUTHENTICATION, REPLY };

struct socks5 {
	enum stage stage;
	struct handshake_target target;
	const struct handshake_config *config;
	struct handshake_relay relay; /* of UDP ASSOCIATE */
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

/* The address that datagrams will come from is not known: zeros (RFC 1928 4), of the family that the proxy is
 * spoken to by: dante takes no other. */
static enum handshake_result request(struct socks5 *s, struct handshake_step *step)
{
	const struct addr unknown = { .family = step->family == AF_INET6 ? AF_INET6 : AF_INET };
	const struct handshake_target *target = &s->target;

	put_byte(step, VERSION);
	put_byte(step, target->datagrams ? UDP_ASSOCIATE : CONNECT);
	put_byte(step, 0);
	step->out_len += target->datagrams
				 ? socks5_put_address(step->out + step->out_len, &unknown, NULL)
				 : socks5_put_address(step->out + step->out_len, &target->addr,
						      target->domain);
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

static enum handshake_result no(const struct socks5 *s, struct handshake_step *step, uint8_t code)
{
	if (code == NOT_SUPPORTED && s->target.datagrams)
		return refuse(step, refusals[code].err, "socks5: UDP ASSOCIATE is not supported");
	if (code >= ARRAY_SIZE(refusals))
		code = 0;
	return refuse(step, refusals[code].err, refusals[code].why);
}

/* False: this is no place to send to. */
static bool keep_relay(struct socks5 *s, const struct socks5_address *address)
{
	s->relay = (struct handshake_relay){ .addr = address->addr };
	if (address->domain_len)
		memcpy(s->relay.domain, address->domain, address->domain_len);
	if (address->addr.family != AF_UNSPEC && addr_is_unspecified(&address->addr))
		s->relay.addr = (struct addr){ .port = address->addr.port };
	return address->addr.port && strlen(s->relay.domain) == address->domain_len;
}

/* The address that the proxy connects from is of no use, but has to be taken. */
static enum handshake_result take_reply(struct socks5 *s, struct handshake_step *step)
{
	struct socks5_address address;
	int len;

	if (step->in_len && step->in[0] != VERSION)
		return bad(step, "socks5: not a reply");
	if (step->in_len >= 2 && step->in[1])
		return no(s, step, step->in[1]);
	if (step->in_len < REPLY_HEAD)
		return HANDSHAKE_MORE;
	len = socks5_get_address(step->in + REPLY_HEAD, step->in_len - REPLY_HEAD, &address);
	if (len < 0)
		return bad(step, "socks5: a reply with an unknown type of address");
	if (!len)
		return HANDSHAKE_MORE;
	if (s->target.datagrams && !keep_relay(s, &address))
		return bad(step, "socks5: a relay for UDP that is none");
	step->eaten = REPLY_HEAD + (size_t)len;
	return HANDSHAKE_DONE;
}

static void socks5_relay(const void *state, struct handshake_relay *ret)
{
	*ret = ((const struct socks5 *)state)->relay;
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
		return take_reply(s, step);
	}
	assert(false);
	return HANDSHAKE_BAD;
}

const struct handshake_ops socks5_handshake = {
	.name = "socks5",
	.state_size = sizeof(struct socks5),
	.init = socks5_init,
	.step = socks5_step,
	.relay = socks5_relay,
};
