/* http_connect - a tunnel by the method CONNECT (RFC 9110 9.3.6) of HTTP/1.1.
 *
 * The answer is taken line by line, so that not a byte behind its blank line is looked at. What we send is
 * made of checked words only: nobody adds a line to it.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <nettle/base64.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/names.h"
#include "proto/handshake.h"

#define CREDENTIALS_MAX 512

struct text {
	char buf[HANDSHAKE_OUT_MAX + 1]; /* of the request, with a zero byte */
	size_t len;
	bool cut;
};

enum stage { ASK, STATUS, HEADERS };

struct http_connect {
	struct text request;
	enum stage stage;
	bool interim; /* the headers are those of a 1xx */
	size_t taken; /* of the answer */
};

/* What a proxy says no by, where it says more than a number. */
static const struct refusal {
	unsigned status;
	int err;
	const char *why;
} refusals[] = {
	{ 400, -EREMOTEIO, "HTTP proxy: 400, bad request" },
	{ 401, -EACCES, "HTTP proxy: 401, unauthorized" },
	{ 403, -EACCES, "HTTP proxy: 403, forbidden" },
	{ 404, -EHOSTUNREACH, "HTTP proxy: 404, not found" },
	{ 405, -EOPNOTSUPP, "HTTP proxy: 405, it does not allow CONNECT" },
	{ 407, -EACCES, "HTTP proxy: 407, it wants another user name and password" },
	{ 429, -EREMOTEIO, "HTTP proxy: 429, too many requests" },
	{ 500, -EREMOTEIO, "HTTP proxy: 500, internal error" },
	{ 501, -EOPNOTSUPP, "HTTP proxy: 501, it does not know CONNECT" },
	{ 502, -EHOSTUNREACH, "HTTP proxy: 502, it could not connect" },
	{ 503, -EHOSTUNREACH, "HTTP proxy: 503, unavailable" },
	{ 504, -ETIMEDOUT, "HTTP proxy: 504, its connect timed out" },
};

static const struct refusal other_refusals[] = {
	{ 3, -EREMOTEIO, "HTTP proxy: 3xx, a redirection" },
	{ 4, -EREMOTEIO, "HTTP proxy: 4xx, it blames the request" },
	{ 5, -EREMOTEIO, "HTTP proxy: 5xx, it failed" },
};

/* What we send */

static __attribute__((format(printf, 2, 3))) void append(struct text *text, const char *format, ...)
{
	size_t room = sizeof(text->buf) - text->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->buf + text->len, room, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= room)
		text->cut = true;
	else
		text->len += (size_t)n;
}

/* A name as DNS has them. */
static bool is_name(const char *name)
{
	for (const char *c = name; *c; c++)
		if (!isascii(*c) || (!isalnum(*c) && !strchr("-._", *c)))
			return false;
	return *name;
}

/* RFC 9110 5.6.2 */
static bool is_token(const char *word)
{
	for (const char *c = word; *c; c++)
		if (!isascii(*c) || (!isalnum(*c) && !strchr("!#$%&'*+-.^_`|~", *c)))
			return false;
	return *word;
}

/* RFC 9110 5.5 */
static bool is_value(const char *value)
{
	for (const char *c = value; *c; c++)
		if (*c == 0x7f || ((unsigned char)*c < ' ' && *c != '\t'))
			return false;
	return true;
}

static bool headers_ok(const char *const *header)
{
	for (; header && *header; header += 2)
		if (!header[1] || !is_token(header[0]) || !is_value(header[1]))
			return false;
	return true;
}

static bool has_header(const char *const *header, const char *name)
{
	for (; header && *header; header += 2)
		if (!strcasecmp(*header, name))
			return true;
	return false;
}

/* host:port, of @size bytes. */
static int format_authority(const struct handshake_target *target, char *ret, size_t size)
{
	const struct addr *addr = &target->addr;
	char ip[INET6_ADDRSTRLEN];
	int n;

	if (target->domain) {
		if (!is_name(target->domain))
			return -EINVAL;
		n = snprintf(ret, size, "%s:%u", target->domain, addr->port);
	} else if (addr->family == AF_INET || addr->family == AF_INET6) {
		bool v6 = addr->family == AF_INET6;

		inet_ntop(addr->family, v6 ? (const void *)&addr->v6 : &addr->v4, ip, sizeof(ip));
		n = snprintf(ret, size, v6 ? "[%s]:%u" : "%s:%u", ip, addr->port);
	} else {
		return -EINVAL;
	}
	return (size_t)n < size ? 0 : -ENAMETOOLONG;
}

/* RFC 7617: a colon would end the user name. */
static int add_credentials(struct text *text, const struct handshake_config *config)
{
	const char *password = config->password ? config->password : "";
	char plain[CREDENTIALS_MAX], coded[BASE64_ENCODE_RAW_LENGTH(CREDENTIALS_MAX)];
	int n;

	if (strchr(config->username, ':'))
		return -EINVAL;
	n = snprintf(plain, sizeof(plain), "%s:%s", config->username, password);
	if ((size_t)n >= sizeof(plain))
		return -ENAMETOOLONG;
	base64_encode_raw(coded, (size_t)n, (const uint8_t *)plain);
	append(text, "Proxy-Authorization: Basic %.*s\r\n",
	       (int)BASE64_ENCODE_RAW_LENGTH((size_t)n), coded);
	return 0;
}

/* A header of the configuration takes the place of ours. */
static int write_request(struct text *text, const struct handshake_target *target,
			 const struct handshake_config *config)
{
	char authority[256 + sizeof(":65535")];
	int r = format_authority(target, authority, sizeof(authority));

	if (r)
		return r;
	append(text, "CONNECT %s HTTP/1.1\r\n", authority);
	if (!has_header(config->headers, "Host"))
		append(text, "Host: %s\r\n", authority);
	if (config->username && !has_header(config->headers, "Proxy-Authorization"))
		r = add_credentials(text, config);
	for (const char *const *header = config->headers; header && *header; header += 2)
		append(text, "%s: %s\r\n", header[0], header[1]);
	append(text, "\r\n");
	return !r && text->cut ? -ENAMETOOLONG : r;
}

static int http_connect_init(void *state, const struct handshake_target *target,
			     const struct handshake_config *config)
{
	struct http_connect *h = state;

	*h = (struct http_connect){ 0 };
	return headers_ok(config->headers) ? write_request(&h->request, target, config) : -EINVAL;
}

/* What we get */

static enum handshake_result bad(struct handshake_step *step, const char *why)
{
	step->why = why;
	return HANDSHAKE_BAD;
}

static enum handshake_result refuse(struct handshake_step *step, unsigned status)
{
	const struct refusal *refusal = &other_refusals[status / 100 - 3];

	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		if (refusals[i].status == status)
			refusal = &refusals[i];
	step->err = refusal->err;
	step->why = refusal->why;
	return HANDSHAKE_REFUSED;
}

/* Whether @line could be the beginning of a status line; d: a digit. */
static bool like_status(const uint8_t *line, size_t len)
{
	static const char pattern[] = "HTTP/1.d ddd";

	for (size_t i = 0; i < len && pattern[i]; i++)
		if (pattern[i] == 'd' ? line[i] < '0' || line[i] > '9'
				      : line[i] != (uint8_t)pattern[i])
			return false;
	return true;
}

#define STATUS_AT  9 /* "HTTP/1.1 " */
#define STATUS_LEN 3

static enum handshake_result take_status(struct http_connect *h, struct handshake_step *step,
					 const uint8_t *line, size_t len)
{
	const uint8_t *digit = line + STATUS_AT;
	unsigned status;

	if (len < STATUS_AT + STATUS_LEN ||
	    (len > STATUS_AT + STATUS_LEN && digit[STATUS_LEN] != ' '))
		return bad(step, "HTTP proxy: not a status line");
	status = (digit[0] - '0') * 100U + (digit[1] - '0') * 10U + (digit[2] - '0');
	if (status < 100 || status > 599 || status == 101) /* we asked for no other protocol */
		return bad(step, "HTTP proxy: a status that makes no sense");
	if (status >= 300)
		return refuse(step, status);
	h->interim = status < 200;
	h->stage = HEADERS;
	return HANDSHAKE_MORE;
}

/* Without its end. Headers are not looked at: RFC 9110 has a 2xx to CONNECT without content, whatever its
 * Content-Length says. */
static enum handshake_result take_line(struct http_connect *h, struct handshake_step *step,
				       const uint8_t *line, size_t len)
{
	if (len && line[len - 1] == '\r')
		len--;
	if (h->stage == STATUS)
		return take_status(h, step, line, len);
	if (len)
		return HANDSHAKE_MORE;
	h->stage = STATUS;
	return h->interim ? HANDSHAKE_MORE : HANDSHAKE_DONE;
}

static enum handshake_result take_lines(struct http_connect *h, struct handshake_step *step)
{
	enum handshake_result result = HANDSHAKE_MORE;

	while (result == HANDSHAKE_MORE) {
		const uint8_t *line = step->in + step->eaten, *end;
		size_t left = step->in_len - step->eaten;

		if (left > HANDSHAKE_IN_MAX - h->taken)
			left = HANDSHAKE_IN_MAX - h->taken;
		if (h->stage == STATUS && !like_status(line, left))
			return bad(step, "the proxy does not speak HTTP/1");
		end = left ? memchr(line, '\n', left) : NULL;
		if (!end)
			return h->taken + left < HANDSHAKE_IN_MAX
				       ? HANDSHAKE_MORE
				       : bad(step, "HTTP proxy: endless headers");
		step->eaten += (size_t)(end - line) + 1;
		h->taken += (size_t)(end - line) + 1;
		result = take_line(h, step, line, (size_t)(end - line));
	}
	return result;
}

static enum handshake_result http_connect_step(void *state, struct handshake_step *step)
{
	struct http_connect *h = state;

	if (h->stage != ASK)
		return take_lines(h, step);
	memcpy(step->out, h->request.buf, h->request.len);
	step->out_len = h->request.len;
	h->stage = STATUS;
	return HANDSHAKE_MORE;
}

const struct handshake_ops http_connect_handshake = {
	.name = "HTTP CONNECT",
	.no_datagrams = "http carries no UDP",
	.state_size = sizeof(struct http_connect),
	.init = http_connect_init,
	.step = http_connect_step,
};
