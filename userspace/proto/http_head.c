/* http_head - the request line and the Host field of HTTP/1 (RFC 9112), or the preface of HTTP/2.
 *
 * Only the first HEAD_MAX bytes count. A line may end in LF alone (RFC 9112 2.2).
 */
#include <string.h>
#include <strings.h>
#include "proto/cursor.h"
#include "proto/sniff.h"

#define HEAD_MAX   8192
#define METHOD_MAX 32 /* of the registered ones, 17 */

struct text {
	const uint8_t *at;
	size_t len;
};

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_alpha(uint8_t c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool is_token(uint8_t c)
{
	return is_alpha(c) || is_digit(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_visible(uint8_t c)
{
	return c > ' ' && c != 0x7f;
}

static struct text take_run(struct cursor *c, bool (*of)(uint8_t c))
{
	struct text run = { .at = c->at };

	while (c->at < c->end && of(*c->at))
		c->at++;
	run.len = (size_t)(c->at - run.at);
	return run;
}

static enum sniff_result read_version(struct cursor *c)
{
	for (const char *p = "HTTP/1.0\r\n"; *p; p++) {
		if (c->at == c->end)
			return SNIFF_MORE;
		if (*p == '\r' && *c->at == '\n')
			continue;
		if (*p == '0' ? !is_digit(*c->at) : *c->at != (uint8_t)*p)
			return SNIFF_NO;
		c->at++;
	}
	return SNIFF_YES;
}

static enum sniff_result read_request_line(struct cursor *c, struct text *ret_method,
					   struct text *ret_target)
{
	*ret_method = take_run(c, is_token);
	if (ret_method->len > METHOD_MAX)
		return SNIFF_NO;
	if (c->at == c->end)
		return SNIFF_MORE;
	if (!ret_method->len || *c->at++ != ' ')
		return SNIFF_NO;
	*ret_target = take_run(c, is_visible);
	if (c->at == c->end)
		return SNIFF_MORE;
	if (!ret_target->len || *c->at++ != ' ')
		return SNIFF_NO;
	return read_version(c);
}

/* Of a target in absolute form; it wins over Host (RFC 9112 3.2.2). */
static bool find_authority(struct text target, struct text *ret)
{
	struct cursor c = cursor_of(target.at, target.len);

	if (!is_alpha(*c.at))
		return false;
	while (c.at < c.end && (is_alpha(*c.at) || is_digit(*c.at) || strchr("+-.", *c.at)))
		c.at++;
	if (cursor_left(&c) < 3 || memcmp(c.at, "://", 3) != 0)
		return false;
	c.at += 3;
	ret->at = c.at;
	for (; c.at < c.end && *c.at != '/' && *c.at != '?' && *c.at != '#'; c.at++)
		if (*c.at == '@')
			ret->at = c.at + 1;
	ret->len = (size_t)(c.at - ret->at);
	return true;
}

static bool is_host_field(struct text line, struct text *ret)
{
	if (line.len < 5 || strncasecmp((const char *)line.at, "host:", 5) != 0)
		return false;
	line.at += 5;
	line.len -= 5;
	while (line.len && (*line.at == ' ' || *line.at == '\t')) {
		line.at++;
		line.len--;
	}
	while (line.len && (line.at[line.len - 1] == ' ' || line.at[line.len - 1] == '\t'))
		line.len--;
	*ret = line;
	return true;
}

/* SNIFF_YES: there is a Host, or the head ends without. */
static enum sniff_result find_host(struct cursor *c, struct text *ret)
{
	while (c->at < c->end) {
		const uint8_t *end = memchr(c->at, '\n', cursor_left(c));
		struct text line = { .at = c->at };

		if (!end)
			break;
		line.len = (size_t)(end - c->at);
		c->at = end + 1;
		if (line.len && line.at[line.len - 1] == '\r')
			line.len--;
		if (!line.len || is_host_field(line, ret))
			return SNIFF_YES;
	}
	return SNIFF_MORE;
}

static enum sniff_result told(struct text host, struct sniff *ret)
{
	size_t len = host.len;

	*ret = (struct sniff){ .protocol = PROTOCOL_HTTP };
	while (len && is_digit(host.at[len - 1]))
		len--;
	if (len && host.at[len - 1] == ':')
		host.len = len - 1;
	if (host.len)
		(void)sniff_domain(host.at, host.len, ret->domain);
	return SNIFF_YES;
}

enum sniff_result http_head_sniff(const uint8_t *data, size_t len, struct sniff *ret)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"; /* RFC 9113 3.4 */
	struct cursor c = cursor_of(data, len < HEAD_MAX ? len : HEAD_MAX);
	struct text method, target, host = { 0 };
	enum sniff_result result;

	if (!len)
		return SNIFF_MORE;
	if (!memcmp(data, preface, len < sizeof(preface) - 1 ? len : sizeof(preface) - 1))
		return len < sizeof(preface) - 1 ? SNIFF_MORE : told(host, ret);
	result = read_request_line(&c, &method, &target);
	if (result == SNIFF_MORE && len >= HEAD_MAX)
		return SNIFF_NO;
	if (result != SNIFF_YES)
		return result;
	if (method.len == 7 && !memcmp(method.at, "CONNECT", 7))
		return told(target, ret);
	if (find_authority(target, &host))
		return told(host, ret);
	if (find_host(&c, &host) == SNIFF_MORE && len < HEAD_MAX)
		return SNIFF_MORE;
	return told(host, ret);
}
