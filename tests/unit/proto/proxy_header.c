/* The PROXY protocol, both versions, byte by byte as its document has them. */
#include "codec.h"

#define V2 "\15\12\15\12\0\15\12QUIT\12"

static void expect_header(const struct handshake_ops *ops, const struct handshake_target *target,
			  const uint8_t *header, size_t len)
{
	const struct codec codec = { ops, *target, { 0 } };
	struct handshake_step step = { 0 };
	void *state = NULL;

	assert_true(ops->deferred);
	assert_null(ops->answer);
	assert_int_equal(begin(&codec, &state), 0);
	assert_int_equal(ops->step(state, &step), HANDSHAKE_DONE);
	assert_int_equal(step.out_len, len);
	assert_memory_equal(step.out, header, len);
	free(state);
}

static struct handshake_target target(const char *source, const char *original, const char *to)
{
	struct handshake_target target = to ? to_addr(to, 80) : to_name("a.test", 80);

	if (source)
		target.source = address(source, 40000);
	if (original)
		target.original = address(original, 443);
	return target;
}

static void expect_both(const struct handshake_target *it, const char *v1, const uint8_t *v2,
			size_t v2_len)
{
	expect_header(&proxy_v1_handshake, it, (const uint8_t *)v1, strlen(v1));
	expect_header(&proxy_v2_handshake, it, v2, v2_len);
}

static void test_known(void **state)
{
	const struct handshake_target v4 = target("10.0.0.1", "10.1.2.3", "10.9.9.9");
	const struct handshake_target v6 = target("fd00::1", "fd00::2", "10.9.9.9");
	const struct handshake_target by_target = target("10.0.0.1", NULL, "10.9.9.9");
	const struct handshake_target by_name = target("10.0.0.1", "10.1.2.3", NULL);

	expect_both(&v4, "PROXY TCP4 10.0.0.1 10.1.2.3 40000 443\r\n",
		    BYTES(V2 "\x21\x11\0\14\12\0\0\1\12\1\2\3\x9c\x40\x01\xbb"));
	expect_both(&v6, "PROXY TCP6 fd00::1 fd00::2 40000 443\r\n",
		    BYTES(V2 "\x21\x21\0\44\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
			     "\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\x9c\x40\x01\xbb"));
	expect_both(&by_target, "PROXY TCP4 10.0.0.1 10.9.9.9 40000 80\r\n",
		    BYTES(V2 "\x21\x11\0\14\12\0\0\1\12\11\11\11\x9c\x40\0\x50"));
	expect_both(&by_name, "PROXY TCP4 10.0.0.1 10.1.2.3 40000 443\r\n",
		    BYTES(V2 "\x21\x11\0\14\12\0\0\1\12\1\2\3\x9c\x40\x01\xbb"));
}

static void test_unknown(void **state)
{
	const struct handshake_target samples[] = {
		target(NULL, "10.1.2.3", "10.9.9.9"),
		target("10.0.0.1", "fd00::2", "10.9.9.9"),
		target("fd00::1", NULL, "10.9.9.9"),
		target("10.0.0.1", NULL, NULL),
		target(NULL, NULL, NULL),
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		expect_both(&samples[i], "PROXY UNKNOWN\r\n", BYTES(V2 "\x20\0\0\0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
