/* SOCKS5 and datagrams: what the association is asked for and where its relay is, and the header before each. */
#include "codec.h"
#include "proto/socks5_datagram.h"

#define ASSOCIATE "\5\3\0\1\0\0\0\0\0\0"
#define V4        "\0\0\0\1\12\1\2\3\0\65"
#define V6        "\0\0\0\4\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\7\1\273"
#define NAME      "\0\0\0\3\6a.test\1\273"

static struct codec associate(const char *user)
{
	struct codec codec = { &socks5_handshake,
			       to_name("a.test", 443),
			       { .username = user, .password = "pw" } };

	codec.target.datagrams = true;
	return codec;
}

static struct handshake_relay relay_of(const uint8_t *answer, size_t len)
{
	const struct codec codec = associate(NULL);
	struct handshake_relay relay;
	void *state = NULL;

	expect_done(&codec, answer, len, len, BYTES("\5\1\0" ASSOCIATE));
	assert_int_equal(begin(&codec, &state), 0);
	assert_int_equal(talk_to(codec.ops->step, state, answer, len, len, 1).result,
			 HANDSHAKE_DONE);
	memset(&relay, 0xa5, sizeof(relay));
	codec.ops->relay(state, &relay);
	free(state);
	return relay;
}

static void expect_relay(const uint8_t *answer, size_t len, const char *addr, const char *domain)
{
	const struct handshake_relay relay = relay_of(answer, len);
	const struct addr want = addr ? address(addr, 1234) : (struct addr){ .port = 1234 };

	assert_true(addr_equal(&relay.addr, &want));
	assert_string_equal(relay.domain, domain);
}

static void test_relay(void **state)
{
	expect_relay(BYTES("\5\0\5\0\0\1\12\0\0\1\4\322"), "10.0.0.1", "");
	expect_relay(BYTES("\5\0\5\0\0\4\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\4\322"), "fd00::1", "");
	expect_relay(BYTES("\5\0\5\0\0\4\0\0\0\0\0\0\0\0\0\0\377\377\12\0\0\1\4\322"), "10.0.0.1",
		     "");
	expect_relay(BYTES("\5\0\5\0\0\1\0\0\0\0\4\322"), NULL, "");
	expect_relay(BYTES("\5\0\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\4\322"), NULL, "");
	expect_relay(BYTES("\5\0\5\0\0\3\0\4\322"), NULL, "");
	expect_relay(BYTES("\5\0\5\0\0\3\7r.a.org\4\322"), NULL, "r.a.org");
}

static void test_longest_relay(void **state)
{
	uint8_t answer[2 + 4 + 1 + 255 + 2] = "\5\0\5\0\0\3\377";
	struct handshake_relay relay;

	memset(answer + 7, 'x', 255);
	answer[7 + 255] = 1;
	relay = relay_of(answer, sizeof(answer));
	assert_int_equal(strlen(relay.domain), 255);
	assert_int_equal(relay.addr.port, 256);
}

static void test_no_relay(void **state)
{
	static const char none[] = "socks5: a relay for UDP that is none";
	const struct codec codec = associate(NULL);

	expect_no(&codec, BYTES("\5\0\5\0\0\1\12\0\0\1\0\0"), HANDSHAKE_BAD, 0, none);
	expect_no(&codec, BYTES("\5\0\5\0\0\3\3a\0b\4\322"), HANDSHAKE_BAD, 0, none);
	expect_no(&codec, BYTES("\5\0\5\7\0\1\0\0\0\0\0\0"), HANDSHAKE_REFUSED, -EOPNOTSUPP,
		  "socks5: UDP ASSOCIATE is not supported");
	expect_no(&codec, BYTES("\5\0\5\2\0\1\0\0\0\0\0\0"), HANDSHAKE_REFUSED, -EACCES,
		  "socks5: not allowed by the proxy's rules");
}

static void test_password(void **state)
{
	const struct codec codec = associate("me");

	expect_done(&codec, BYTES("\5\2\1\0\5\0\0\1\12\0\0\1\4\322"), 14,
		    BYTES("\5\2\0\2\1\2me\2pw" ASSOCIATE));
}

static void expect_head(const char *addr, uint16_t port, const char *domain, const uint8_t *want,
			size_t len)
{
	const struct addr to = addr ? address(addr, port) : (struct addr){ .port = port };
	uint8_t head[SOCKS5_DATAGRAM_HEAD_MAX];

	memset(head, 0xa5, sizeof(head));
	assert_int_equal(socks5_wrap(head, &to, domain), len);
	assert_memory_equal(head, want, len);
}

static void test_wrap(void **state)
{
	char longest[256];
	uint8_t head[SOCKS5_DATAGRAM_HEAD_MAX];

	expect_head("10.1.2.3", 53, NULL, BYTES(V4));
	expect_head("fd00::7", 443, NULL, BYTES(V6));
	expect_head(NULL, 443, "a.test", BYTES(NAME));
	memset(longest, 'x', 255);
	longest[255] = '\0';
	assert_int_equal(socks5_wrap(head, &(struct addr){ 0 }, longest), sizeof(head));
}

static void expect_source(const uint8_t *data, size_t len, const struct addr *want)
{
	struct addr source = { .family = AF_MAX };
	uint8_t more[512];

	memset(more, 0xa5, sizeof(more));
	memcpy(more, data, len);
	assert_int_equal(socks5_unwrap(data, len, &source), len); /* an empty datagram */
	assert_true(addr_equal(&source, want));
	assert_int_equal(socks5_unwrap(more, sizeof(more), &source), len);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);

		assert_non_null(exact);
		memcpy(exact, data, cut);
		assert_int_equal(socks5_unwrap(exact, cut, &source), -EBADMSG);
		free(exact);
	}
}

static void test_unwrap(void **state)
{
	static const struct addr nobody = { .family = AF_UNSPEC };
	const struct addr v4 = address("10.1.2.3", 53), v6 = address("fd00::7", 443);

	expect_source(BYTES(V4), &v4);
	expect_source(BYTES(V6), &v6);
	expect_source(BYTES("\0\0\0\4\0\0\0\0\0\0\0\0\0\0\377\377\12\1\2\3\0\65"), &v4);
	expect_source(BYTES("\0\0\0\3\0\0\65"), &nobody);
	expect_source(BYTES("\0\0\0\1\0\0\0\0\0\65"), &nobody);
	expect_source(BYTES("\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\65"), &nobody);
}

static void test_unwrap_domain(void **state)
{
	struct addr source = { .family = AF_MAX };

	assert_int_equal(socks5_unwrap(BYTES(NAME), &source), sizeof(NAME) - 1);
	assert_int_equal(source.family, AF_UNSPEC);
}

static void test_unwrap_no(void **state)
{
	static const struct {
		const uint8_t *data;
		size_t len;
		int err;
	} samples[] = {
		{ BYTES("\0\0\1\1\12\1\2\3\0\65x"), -EOPNOTSUPP },
		{ BYTES("\0\0\377\3\1a\0\65"), -EOPNOTSUPP },
		{ BYTES("\0\0\1\1\12\1\2\3\0"), -EBADMSG },
		{ BYTES("\1\0\0\1\12\1\2\3\0\65x"), -EBADMSG },
		{ BYTES("\0\1\0\1\12\1\2\3\0\65x"), -EBADMSG },
		{ BYTES("\0\0\0\0\12\1\2\3\0\65x"), -EBADMSG },
		{ BYTES("\0\0\0\2\12\1\2\3\0\65x"), -EBADMSG },
		{ BYTES("\0\0\0\5\12\1\2\3\0\65x"), -EBADMSG },
		{ BYTES("\0\0\0\3\377a.test\1\273"), -EBADMSG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct addr source = { .family = AF_MAX };

		assert_int_equal(socks5_unwrap(samples[i].data, samples[i].len, &source),
				 samples[i].err);
		assert_int_equal(source.family, AF_MAX);
	}
}

static void test_corpus(void **state)
{
	replay("socks5_datagram", LLVMFuzzerTestOneInput);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relay),     cmocka_unit_test(test_longest_relay),
		cmocka_unit_test(test_no_relay),  cmocka_unit_test(test_password),
		cmocka_unit_test(test_wrap),      cmocka_unit_test(test_unwrap),
		cmocka_unit_test(test_unwrap_no), cmocka_unit_test(test_unwrap_domain),
		cmocka_unit_test(test_corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
