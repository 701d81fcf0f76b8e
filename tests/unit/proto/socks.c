/* SOCKS5, SOCKS4 and 4a: what is said, what of the answer is taken, and what a no means. */
#include "codec.h"

#define REPLY4 "\5\0\0\1\12\0\0\1\4\322"
#define REPLY6 "\5\0\0\4\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\4\322"
#define ASK4   "\5\1\0\1\12\1\2\3\0\120"
#define ASK6   "\5\1\0\4\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\7\1\273"
#define ASK    "\5\1\0\3\6a.test\1\273"

static void test_socks5(void **state)
{
	const struct codec v4 = { &socks5_handshake, to_addr("10.1.2.3", 80), { 0 } };
	const struct codec v6 = { &socks5_handshake, to_addr("fd00::7", 443), { 0 } };
	const struct codec name = { &socks5_handshake, to_name("a.test", 443), { 0 } };

	expect_done(&v4, BYTES("\5\0" REPLY4), 12, BYTES("\5\1\0" ASK4));
	expect_done(&v6, BYTES("\5\0" REPLY6), 24, BYTES("\5\1\0" ASK6));
	expect_done(&name, BYTES("\5\0\5\0\0\3\4long\0\1"), 13, BYTES("\5\1\0" ASK));
	expect_done(&name, BYTES("\5\0\5\0\0\3\0\0\1"), 9, BYTES("\5\1\0" ASK));
	/* What a server says first is not ours. */
	expect_done(&v4, BYTES("\5\0" REPLY4 "220 ready\r\n"), 12, BYTES("\5\1\0" ASK4));
	expect_done(&v4, BYTES("\5\0" REPLY4 "\5\0\0\1"), 12, BYTES("\5\1\0" ASK4));
}

static void test_socks5_password(void **state)
{
	const struct codec both = { &socks5_handshake,
				    to_addr("10.1.2.3", 80),
				    { .username = "me", .password = "secret" } };
	const struct codec user = { &socks5_handshake,
				    to_addr("10.1.2.3", 80),
				    { .username = "me" } };

	expect_done(&both, BYTES("\5\2\1\0" REPLY4), 14, BYTES("\5\2\0\2\1\2me\6secret" ASK4));
	expect_done(&user, BYTES("\5\2\1\0" REPLY4), 14, BYTES("\5\2\0\2\1\2me\0" ASK4));
	expect_done(&both, BYTES("\5\0" REPLY4), 12, BYTES("\5\2\0\2" ASK4));
	expect_no(&both, BYTES("\5\2\1\1"), HANDSHAKE_REFUSED, -EACCES,
		  "socks5: wrong user name or password");
	expect_no(&both, BYTES("\5\2\5\0"), HANDSHAKE_BAD, 0,
		  "socks5: not an answer to a password");
	expect_no(&both, BYTES("\5\377"), HANDSHAKE_REFUSED, -EACCES,
		  "socks5: no user name and password wanted");
}

static void test_socks5_no(void **state)
{
	static const struct {
		uint8_t code;
		int err;
		const char *why;
	} samples[] = {
		{ 1, -EREMOTEIO, "socks5: general failure" },
		{ 2, -EACCES, "socks5: not allowed by the proxy's rules" },
		{ 3, -ENETUNREACH, "socks5: network unreachable" },
		{ 4, -EHOSTUNREACH, "socks5: host unreachable" },
		{ 5, -ECONNREFUSED, "socks5: connection refused" },
		{ 6, -ETIMEDOUT, "socks5: TTL expired" },
		{ 7, -EOPNOTSUPP, "socks5: CONNECT is not supported" },
		{ 8, -EAFNOSUPPORT, "socks5: this type of address is not supported" },
		{ 9, -EREMOTEIO, "socks5: the proxy failed" },
		{ 255, -EREMOTEIO, "socks5: the proxy failed" },
	};
	const struct codec codec = { &socks5_handshake, to_name("a.test", 443), { 0 } };
	uint8_t answer[] = "\5\0\5\0\0\1\0\0\0\0\0\0";

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		answer[3] = samples[i].code;
		expect_no(&codec, answer, sizeof(answer) - 1, HANDSHAKE_REFUSED, samples[i].err,
			  samples[i].why);
	}
	expect_no(&codec, BYTES("\5\377"), HANDSHAKE_REFUSED, -EACCES,
		  "socks5: the proxy wants a user name and password");
	expect_no(&codec, BYTES("\5\2"), HANDSHAKE_BAD, 0, "socks5: a method that was not offered");
	expect_no(&codec, BYTES("\5\1"), HANDSHAKE_BAD, 0, "socks5: a method that was not offered");
	expect_no(&codec, BYTES("HTTP/1.1 400"), HANDSHAKE_BAD, 0,
		  "the proxy does not speak SOCKS5");
	expect_no(&codec, BYTES("\5\0\4\0"), HANDSHAKE_BAD, 0, "socks5: not a reply");
	expect_no(&codec, BYTES("\5\0\5\0\0\2\0\0"), HANDSHAKE_BAD, 0,
		  "socks5: a reply with an unknown type of address");
}

static const char *repeated(char *buf, size_t len)
{
	memset(buf, 'x', len);
	buf[len] = '\0';
	return buf;
}

static void test_socks5_limits(void **state)
{
	char most[256], more[257];
	struct codec codec = { &socks5_handshake,
			       to_name(repeated(most, 255), 443),
			       { .username = most, .password = most } };

	repeated(more, 256);
	assert_int_equal(every_way(&codec, BYTES("\5\2\1\0" REPLY4)).said_len,
			 4 + (3 + 2 * 255) + (4 + 1 + 255 + 2));
	codec.config.password = more;
	expect_init(&codec, -ENAMETOOLONG);
	codec.config = (struct handshake_config){ .username = more };
	expect_init(&codec, -ENAMETOOLONG);
	codec = (struct codec){ &socks5_handshake, to_name(more, 443), { 0 } };
	expect_init(&codec, -ENAMETOOLONG);
	codec.target.domain = "";
	expect_init(&codec, -EINVAL);
	codec.target.domain = NULL; /* and no address */
	expect_init(&codec, -EINVAL);
}

static void test_socks4(void **state)
{
	const struct codec v4 = { &socks4_handshake,
				  to_addr("10.1.2.3", 80),
				  { .username = "me", .password = "not sent" } };
	const struct codec name = { &socks4_handshake, to_name("a.test", 443), { 0 } };

	expect_done(&v4, BYTES("\0\132\0\0\0\0\0\0"), 8, BYTES("\4\1\0\120\12\1\2\3me\0"));
	expect_done(&name, BYTES("\0\132\1\2\3\4\5\6SSH-2.0"), 8,
		    BYTES("\4\1\1\273\0\0\0\1\0a.test\0"));
	expect_no(&v4, BYTES("\0\133\0\0\0\0\0\0"), HANDSHAKE_REFUSED, -EREMOTEIO,
		  "socks4: rejected or failed");
	expect_no(&v4, BYTES("\0\134\0\0\0\0\0\0"), HANDSHAKE_REFUSED, -EACCES,
		  "socks4: the proxy asked for identd in vain");
	expect_no(&v4, BYTES("\0\135\0\0\0\0\0\0"), HANDSHAKE_REFUSED, -EACCES,
		  "socks4: identd names another user");
	expect_no(&v4, BYTES("\0\0\0\0\0\0\0\0"), HANDSHAKE_REFUSED, -EREMOTEIO,
		  "socks4: the proxy failed");
	expect_no(&v4, BYTES("\5\0"), HANDSHAKE_BAD, 0, "the proxy does not speak SOCKS4");
}

static void test_socks4_limits(void **state)
{
	char most[256], more[257];
	struct codec codec = { &socks4_handshake,
			       to_name(repeated(most, 255), 443),
			       { .username = most } };

	repeated(more, 256);
	assert_int_equal(every_way(&codec, BYTES("\0\132\0\0\0\0\0\0")).said_len, 8 + 2 * 256);
	codec.config.username = more;
	expect_init(&codec, -ENAMETOOLONG);
	codec = (struct codec){ &socks4_handshake, to_name(more, 443), { 0 } };
	expect_init(&codec, -ENAMETOOLONG);
	codec.target = to_name("", 443);
	expect_init(&codec, -EINVAL);
	codec.target = to_addr("fd00::1", 443);
	expect_init(&codec, -EAFNOSUPPORT);
	codec.target = to_addr("0.0.0.7", 443); /* a name would have to follow */
	expect_init(&codec, -EINVAL);
	codec.target = to_addr("0.1.0.0", 443);
	expect_init(&codec, 0);
}

static void test_corpus(void **state)
{
	replay("socks5", LLVMFuzzerTestOneInput);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_socks5),    cmocka_unit_test(test_socks5_password),
		cmocka_unit_test(test_socks5_no), cmocka_unit_test(test_socks5_limits),
		cmocka_unit_test(test_socks4),    cmocka_unit_test(test_socks4_limits),
		cmocka_unit_test(test_corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
