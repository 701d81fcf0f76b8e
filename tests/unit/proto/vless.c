/* VLESS: the header that is owed, and the answer that is taken off. */
#include "codec.h"

#define UUID "0123456789abcdef"

static const struct handshake_config config = { .uuid = (const uint8_t *)UUID };

static void expect_header(const struct handshake_target *target, const uint8_t *header, size_t len)
{
	const struct codec codec = { &vless_handshake, *target, config };
	struct handshake_step step = { 0 };
	void *state = NULL;

	assert_int_equal(begin(&codec, &state), 0);
	assert_int_equal(vless_handshake.step(state, &step), HANDSHAKE_DONE);
	assert_int_equal(step.out_len, len);
	assert_memory_equal(step.out, header, len);
	free(state);
}

static void test_header(void **state)
{
	struct handshake_target v4 = to_addr("10.1.2.3", 80), v6 = to_addr("fd00::7", 443),
				name = to_name("a.test", 443);

	assert_true(vless_handshake.deferred);
	expect_header(&v4, BYTES("\0" UUID "\0\1\0\120\1\12\1\2\3"));
	expect_header(&v6, BYTES("\0" UUID "\0\1\1\273\3\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\7"));
	expect_header(&name, BYTES("\0" UUID "\0\1\1\273\2\6a.test"));
	name.datagrams = v4.datagrams = true;
	expect_header(&name, BYTES("\0" UUID "\0\2\1\273\2\6a.test"));
	expect_header(&v4, BYTES("\0" UUID "\0\2\0\120\1\12\1\2\3"));
}

static void test_limits(void **state)
{
	char text[257];
	struct codec codec = { .ops = &vless_handshake, .config = config };

	memset(text, 'x', sizeof(text));
	text[255] = '\0';
	codec.target = to_name(text, 443);
	expect_init(&codec, 0);
	text[255] = 'x';
	text[256] = '\0';
	expect_init(&codec, -ENAMETOOLONG);
	expect_init(&(struct codec){ &vless_handshake, to_name("", 443), config }, -EINVAL);
	expect_init(&(struct codec){ .ops = &vless_handshake, .config = config }, -EINVAL);
	expect_init(&(struct codec){ &vless_handshake, to_name("a.test", 443), { 0 } }, -EINVAL);
}

static struct talk answered(const uint8_t *data, size_t len, size_t first)
{
	const struct codec codec = { &vless_handshake, to_name("a.test", 443), config };
	struct talk talk;
	void *state = NULL;

	assert_int_equal(begin(&codec, &state), 0);
	talk = talk_to(vless_handshake.answer, state, data, len, first, 1);
	free(state);
	return talk;
}

static void test_answer(void **state)
{
	uint8_t longest[2 + 255 + 3] = { 0, 255 };
	struct talk talk;

	for (size_t first = 0; first <= sizeof(longest); first++) {
		talk = answered(longest, sizeof(longest), first);
		assert_int_equal(talk.result, HANDSHAKE_DONE);
		assert_int_equal(talk.taken, 2 + 255);
		talk = answered(longest, first < 256 ? first : 256, first);
		assert_int_equal(talk.result, HANDSHAKE_MORE);
		assert_int_equal(talk.taken, 0);
	}
	for (size_t first = 0; first <= 9; first++) {
		talk = answered(BYTES("\0\0SSH-2.0"), first);
		assert_int_equal(talk.result, HANDSHAKE_DONE);
		assert_int_equal(talk.taken, 2);
	}
	talk = answered(BYTES("\1"), 1);
	assert_int_equal(talk.result, HANDSHAKE_BAD);
	assert_string_equal(talk.why, "the proxy does not speak VLESS 0");
}

static void test_corpus(void **state)
{
	replay("vless", LLVMFuzzerTestOneInput);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
