/* HTTP CONNECT: the request as it is written, the head of the answer taken and no byte behind it. */
#include "codec.h"

#define OK   "HTTP/1.1 200 Connection established\r\n"
#define ASK  "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n"
#define HTTP (&http_connect_handshake)

static void expect_request(const struct codec *codec, const char *request)
{
	expect_done(codec, BYTES(OK "\r\n"), sizeof(OK "\r\n") - 1, (const uint8_t *)request,
		    strlen(request));
}

static void test_request(void **state)
{
	static const char *const more[] = { "X-One", "1", "x-empty", "", NULL };
	static const char *const instead[] = { "host", "other:1", "PROXY-authorization", "Bearer x",
					       NULL };
	const struct handshake_config password = { .username = "Aladdin",
						   .password = "open sesame" };

	expect_request(&(struct codec){ HTTP, to_name("a.test", 443), { 0 } }, ASK "\r\n");
	expect_request(&(struct codec){ HTTP, to_addr("10.1.2.3", 80), { 0 } },
		       "CONNECT 10.1.2.3:80 HTTP/1.1\r\nHost: 10.1.2.3:80\r\n\r\n");
	expect_request(&(struct codec){ HTTP, to_addr("fd00::7", 65535), { 0 } },
		       "CONNECT [fd00::7]:65535 HTTP/1.1\r\nHost: [fd00::7]:65535\r\n\r\n");
	expect_request(&(struct codec){ HTTP, to_name("a.test", 443), password },
		       ASK "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n");
	expect_request(&(struct codec){ HTTP, to_name("a.test", 443), { .username = "a" } },
		       ASK "Proxy-Authorization: Basic YTo=\r\n\r\n");
	expect_request(&(struct codec){ HTTP, to_name("a.test", 443), { .headers = more } },
		       ASK "X-One: 1\r\nx-empty: \r\n\r\n");
	expect_request(&(struct codec){ HTTP,
					to_name("a.test", 443),
					{ .headers = instead, .username = "a" } },
		       "CONNECT a.test:443 HTTP/1.1\r\nhost: other:1\r\n"
		       "PROXY-authorization: Bearer x\r\n\r\n");
}

static void test_no_injection(void **state)
{
	static const char *const names[] = {
		"a.test\r\nX: y", "a.test\n", "a b",           "a/b", "a:1",
		"u@a.test",       "[::1]",    "\xc3\xa4.test", ""
	};
	static const char *const headers[][3] = {
		{ "X", "1\r\nY: 2", NULL }, { "X", "1\n2", NULL }, { "X", "1\r2", NULL },
		{ "X\r\nY", "1", NULL },    { "X Y", "1", NULL },  { "X:", "1", NULL },
		{ "", "1", NULL },          { "X", "\x7f", NULL }, { "X", "\x01", NULL },
		{ "X", NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		expect_init(&(struct codec){ HTTP, to_name(names[i], 443), { 0 } }, -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		expect_init(
			&(struct codec){ HTTP, to_name("a.test", 443), { .headers = headers[i] } },
			-EINVAL);
	expect_init(&(struct codec){ HTTP, to_name("a.test", 443), { .username = "a:b" } },
		    -EINVAL);
	expect_init(&(struct codec){ .ops = HTTP }, -EINVAL);
	/* Base64 lets nothing through. */
	expect_init(&(struct codec){ HTTP,
				     to_name("a.test", 443),
				     { .username = "a", .password = "\r\nX: y" } },
		    0);
}

static const char *repeated(char *buf, size_t len)
{
	memset(buf, 'x', len);
	buf[len] = '\0';
	return buf;
}

static void test_limits(void **state)
{
	char long_text[1100];
	const char *headers[] = { "X", NULL, NULL };
	struct codec codec = { HTTP, to_name("a.test", 443), { .headers = headers } };
	size_t room = HANDSHAKE_OUT_MAX - strlen(ASK "X: \r\n\r\n");

	headers[1] = repeated(long_text, room);
	assert_int_equal(every_way(&codec, BYTES(OK "\r\n")).said_len, HANDSHAKE_OUT_MAX);
	headers[1] = repeated(long_text, room + 1);
	expect_init(&codec, -ENAMETOOLONG);
	codec = (struct codec){ HTTP, to_name("a.test", 443), { .username = long_text } };
	expect_init(&codec, -ENAMETOOLONG);
	codec = (struct codec){ HTTP, to_name(long_text, 443), { 0 } };
	expect_init(&codec, -ENAMETOOLONG);
}

static void test_answers(void **state)
{
	static const char *const heads[] = {
		OK "\r\n",
		"HTTP/1.0 200\r\n\r\n",
		"HTTP/1.1 299 \r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 204 x\nA: b\n\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\n" OK "A: b\r\n\r\n",
	};
	const struct codec codec = { HTTP, to_name("a.test", 443), { 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		char answer[256];
		size_t len = strlen(heads[i]);

		expect_done(&codec, (const uint8_t *)heads[i], len, len, BYTES(ASK "\r\n"));
		len = (size_t)snprintf(answer, sizeof(answer), "%s\r\nHTTP/1.1 500 x\r\n\r\n",
				       heads[i]);
		expect_done(&codec, (const uint8_t *)answer, len, strlen(heads[i]),
			    BYTES(ASK "\r\n"));
	}
}

static void test_refusals(void **state)
{
	static const struct {
		const char *status;
		int err;
		const char *why;
	} samples[] = {
		{ "407 x", -EACCES, "HTTP proxy: 407, it wants another user name and password" },
		{ "403", -EACCES, "HTTP proxy: 403, forbidden" },
		{ "405 x", -EOPNOTSUPP, "HTTP proxy: 405, it does not allow CONNECT" },
		{ "502 x", -EHOSTUNREACH, "HTTP proxy: 502, it could not connect" },
		{ "504 x", -ETIMEDOUT, "HTTP proxy: 504, its connect timed out" },
		{ "302 x", -EREMOTEIO, "HTTP proxy: 3xx, a redirection" },
		{ "418 x", -EREMOTEIO, "HTTP proxy: 4xx, it blames the request" },
		{ "599 x", -EREMOTEIO, "HTTP proxy: 5xx, it failed" },
	};
	const struct codec codec = { HTTP, to_name("a.test", 443), { 0 } };
	char answer[64];

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		int len = snprintf(answer, sizeof(answer), "HTTP/1.1 %s\r\nA: b\r\n\r\n",
				   samples[i].status);

		expect_no(&codec, (const uint8_t *)answer, (size_t)len, HANDSHAKE_REFUSED,
			  samples[i].err, samples[i].why);
	}
}

static void test_garbage(void **state)
{
	static const char *const not_http[] = { "SSH-2.0-x\r\n",     "\x15\x03\x01",
						("\r\n" OK),         "HTTP/2 200\r\n",
						"HTTP/1.1  200\r\n", "HTTP/1.1 2x0\r\n",
						"http/1.1 200\r\n" };
	static const char *const no_sense[] = { "HTTP/1.1 600 x\r\n", "HTTP/1.1 099 x\r\n",
						"HTTP/1.1 101 x\r\n" };
	const struct codec codec = { HTTP, to_name("a.test", 443), { 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(not_http); i++)
		expect_no(&codec, (const uint8_t *)not_http[i], strlen(not_http[i]), HANDSHAKE_BAD,
			  0, "the proxy does not speak HTTP/1");
	for (size_t i = 0; i < ARRAY_SIZE(no_sense); i++)
		expect_no(&codec, (const uint8_t *)no_sense[i], strlen(no_sense[i]), HANDSHAKE_BAD,
			  0, "HTTP proxy: a status that makes no sense");
	expect_no(&codec, BYTES("HTTP/1.1 2000\r\n"), HANDSHAKE_BAD, 0,
		  "HTTP proxy: not a status line");
	expect_no(&codec, BYTES("HTTP/1.1 200x\r\n"), HANDSHAKE_BAD, 0,
		  "HTTP proxy: not a status line");
	expect_no(&codec, BYTES("HTTP/1.1 20\r\n"), HANDSHAKE_BAD, 0,
		  "the proxy does not speak HTTP/1");
}

/* Without its zero byte. */
static void place(uint8_t *to, const char *text)
{
	while (*text)
		*to++ = (uint8_t)*text++;
}

/* A head of 8 KiB is the longest, in one line or in many. */
static void test_endless(void **state)
{
	const struct codec codec = { HTTP, to_name("a.test", 443), { 0 } };
	static uint8_t answer[HANDSHAKE_IN_MAX + 100];
	struct talk talk;

	for (size_t line = 3; line < 9000; line = line * 3) {
		memset(answer, 'x', sizeof(answer));
		place(answer, OK);
		for (size_t at = strlen(OK) + line; at < HANDSHAKE_IN_MAX - 4; at += line)
			answer[at] = '\n';
		place(answer + HANDSHAKE_IN_MAX - 3, "\n\r\n");
		talk = hear(&codec, answer, sizeof(answer), 7000, 200);
		assert_int_equal(talk.result, HANDSHAKE_DONE);
		assert_int_equal(talk.taken, HANDSHAKE_IN_MAX);
		place(answer + HANDSHAKE_IN_MAX - 3, "x\n\r\n");
		for (size_t chunk = 1; chunk < sizeof(answer); chunk += 1000) {
			talk = hear(&codec, answer, sizeof(answer), 8000, chunk);
			assert_int_equal(talk.result, HANDSHAKE_BAD);
			assert_string_equal(talk.why, "HTTP proxy: endless headers");
		}
	}
}

static void test_corpus(void **state)
{
	replay("http_connect", LLVMFuzzerTestOneInput);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),  cmocka_unit_test(test_no_injection),
		cmocka_unit_test(test_limits),   cmocka_unit_test(test_answers),
		cmocka_unit_test(test_refusals), cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_endless),  cmocka_unit_test(test_corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
