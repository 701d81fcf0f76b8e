/* dtls - a record of DTLS 1.0 or 1.2, which the first of 1.3 is as well (RFC 9147 4); and the name
 * in a ClientHello that is whole.
 *
 * The hello is rewritten as one of TLS, which lacks the numbers of fragments and the cookie.
 */
#include <string.h>
#include "proto/sniff.h"
#include "proto/tls_hello.h"

#define RECORD_HEAD    13
#define HANDSHAKE_HEAD 12
#define RANDOM         34 /* with the version before it */
#define HELLO_MAX      2048
#define TLS_HEAD       9 /* of a record and a handshake message */
#define TYPE_HANDSHAKE 22
#define TYPE_CID       25
#define CLIENT_HELLO   1

static size_t number16(const uint8_t *at)
{
	return (size_t)at[0] << 8 | at[1];
}

static size_t number24(const uint8_t *at)
{
	return (size_t)at[0] << 16 | number16(at + 1);
}

/* Where the cookie is in the body of a hello, 0: it is cut short; its length byte counts. */
static size_t find_cookie(const uint8_t *body, size_t len, size_t *ret_len)
{
	size_t at = RANDOM;

	if (len <= at || body[at] >= len - at - 1)
		return 0;
	at += 1U + body[at];
	if (body[at] > len - at - 1)
		return 0;
	*ret_len = 1U + body[at];
	return at;
}

static void put_head(uint8_t *out, size_t len)
{
	const uint8_t head[TLS_HEAD] = { TYPE_HANDSHAKE,
					 3,
					 1,
					 (uint8_t)((len + 4) >> 8),
					 (uint8_t)(len + 4),
					 CLIENT_HELLO,
					 0,
					 (uint8_t)(len >> 8),
					 (uint8_t)len };

	memcpy(out, head, sizeof(head));
}

/* @message: the payload of a handshake record. */
static void take_name(const uint8_t *message, size_t len, char *ret_domain)
{
	const uint8_t *body = message + HANDSHAKE_HEAD;
	size_t body_len = len - HANDSHAKE_HEAD, cookie, cookie_len, out_len;
	uint8_t out[TLS_HEAD + HELLO_MAX];
	struct tls_hello hello;

	if (len < HANDSHAKE_HEAD || message[0] != CLIENT_HELLO || body_len > HELLO_MAX)
		return;
	if (number24(message + 1) != body_len || number24(message + 6) != 0 ||
	    number24(message + 9) != body_len)
		return;
	cookie = find_cookie(body, body_len, &cookie_len);
	if (!cookie)
		return;
	out_len = body_len - cookie_len;
	put_head(out, out_len);
	memcpy(out + TLS_HEAD, body, cookie);
	memcpy(out + TLS_HEAD + cookie, body + cookie + cookie_len, out_len - cookie);
	out[TLS_HEAD] = 3; /* 254.253 is 3.3 to TLS */
	out[TLS_HEAD + 1] = 3;
	if (tls_hello_parse(out, TLS_HEAD + out_len, &hello) == SNIFF_YES)
		memcpy(ret_domain, hello.domain, SNIFF_DOMAIN_MAX);
}

enum sniff_result dtls_sniff(const uint8_t *data, size_t len, struct sniff *ret)
{
	struct sniff sniff = { .protocol = PROTOCOL_DTLS };
	size_t length;

	if (len < RECORD_HEAD || data[0] < 20 || data[0] > TYPE_CID || data[1] != 0xfe ||
	    (data[2] != 0xff && data[2] != 0xfd))
		return SNIFF_NO;
	length = number16(data + 11);
	/* With a connection ID, whose length only the ends know, the length comes after it (RFC
	 * 9146). */
	if (data[0] != TYPE_CID && length > len - RECORD_HEAD)
		return SNIFF_NO;
	if (data[0] == TYPE_HANDSHAKE)
		take_name(data + RECORD_HEAD, length, sniff.domain);
	*ret = sniff;
	return SNIFF_YES;
}
