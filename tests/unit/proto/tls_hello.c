/* ClientHellos whole, in pieces, and broken. */
#include "hello.h"
#include "proto/tls_hello.h"

static void test_names(void **state)
{
	static const struct {
		struct hello_plan plan;
		const char *want;
	} rows[] = {
		{ { .name = "example.com" }, "example.com" },
		{ { .name = "Example.Com." }, "example.com" },
		{ { .name = "example.com", .size = 1800, .name_last = true }, "example.com" },
		{ { .name = "example.com", .size = 1800, .records = 4 }, "example.com" },
		{ { .name = "example.com", .records = 40 }, "example.com" },
		{ { .name = "example.com", .behind = "\x17\3\3" }, "example.com" },
		{ { .name = "example.com", .records = 3, .behind = "garbage" }, "example.com" },
		{ { .name = NULL }, "" },
		{ { .name = "" }, "" },
		{ { .name = ".example.com" }, "" },
		{ { .name = "192.0.2.7" }, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct hello hello;
		struct sniff sniff;

		hello_build(&hello, &rows[i].plan);
		assert_sniffs(tls_hello_sniff, hello.data, hello.len, hello.bytes, SNIFF_YES,
			      &sniff);
		assert_int_equal(sniff.protocol, PROTOCOL_TLS);
		assert_string_equal(sniff.domain, rows[i].want);
	}
}

static void test_offsets(void **state)
{
	struct hello_plan plan = { .name = "name.example", .size = 300, .behind = "more" };
	struct tls_hello parsed;
	struct hello hello;

	hello_build(&hello, &plan);
	assert_int_equal(tls_hello_parse(hello.data, hello.len, &parsed), SNIFF_YES);
	assert_int_equal(parsed.bytes, hello.bytes);
	assert_int_equal(parsed.records, 1);
	assert_int_equal(parsed.sni_len, strlen(plan.name));
	assert_memory_equal(hello.data + parsed.sni_offset, plan.name, strlen(plan.name));
	plan.name = NULL;
	hello_build(&hello, &plan);
	assert_int_equal(tls_hello_parse(hello.data, hello.len, &parsed), SNIFF_YES);
	assert_int_equal(parsed.sni_offset, 0);
	assert_int_equal(parsed.sni_len, 0);
}

/* A boundary of records at every byte: the name is where it was, longer by a header that is in it. */
static void test_every_boundary(void **state)
{
	struct hello_plan plan = { .name = "name.example", .size = 200 };
	size_t name_len = strlen(plan.name), name_at;
	struct hello message, hello;
	struct tls_hello parsed;

	hello_message(&message, &plan);
	name_at = (size_t)((uint8_t *)memmem(message.data, message.len, plan.name, name_len) -
			   message.data);
	for (size_t cut = 1; cut < message.len; cut++) {
		size_t ends[] = { cut, message.len };
		struct sniff sniff;

		hello_wrap(&hello, &message, ends, 2);
		assert_sniffs(tls_hello_sniff, hello.data, hello.len, hello.len, SNIFF_YES, &sniff);
		assert_string_equal(sniff.domain, plan.name);
		assert_int_equal(tls_hello_parse(hello.data, hello.len, &parsed), SNIFF_YES);
		assert_int_equal(parsed.records, 2);
		assert_int_equal(parsed.sni_offset, name_at + (cut <= name_at ? 10 : 5));
		assert_int_equal(parsed.sni_len,
				 name_len + (cut > name_at && cut < name_at + name_len ? 5 : 0));
	}
}

static void test_sizes(void **state)
{
	struct hello message, hello;
	struct sniff sniff = { 0 };
	size_t ends[] = { 9000, 16388 };

	hello_message(&message, &(struct hello_plan){ .name = "a.example", .size = 16388 });
	hello_wrap(&hello, &message, ends, 2);
	assert_int_equal(sniff_exact(tls_hello_sniff, hello.data, hello.len, &sniff), SNIFF_YES);
	assert_string_equal(sniff.domain, "a.example");
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\1\0\x40\1\0\x40\0\3\3"), 11, SNIFF_MORE,
		      &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\1\0\x40\1\0\x40\1\3\3"), 9, SNIFF_NO, &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\1\0\x40\1\1\0\0\3\3"), 9, SNIFF_NO, &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\1\x41\0\1\0\1\0"), 9, SNIFF_MORE, &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\1\x41\1\1\0\1\0"), 5, SNIFF_NO, &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\1\0\0\x16\3\1"), 5, SNIFF_NO, &sniff);
}

static void test_not_a_hello(void **state)
{
	struct sniff sniff = { 0 };

	assert_sniffs(tls_hello_sniff, BYTES("\x15\3\1\0\2"), 1, SNIFF_NO, &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\2\1\0\2"), 2, SNIFF_NO, &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\0\0\2"), 3, SNIFF_NO, &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\4\0\2"), 3, SNIFF_NO, &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\3\0\2\2\0"), 6, SNIFF_NO, &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\3\0\2\1\0\x15\3\3"), 8, SNIFF_NO, &sniff);
	assert_sniffs(tls_hello_sniff, BYTES("\x16\3\3\0\4\1\0\0\0"), 9, SNIFF_NO, &sniff);
}

/* One byte of the message made another: SNIFF_NO, and not before it is whole. */
static void test_bad_lengths(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} rows[] = {
		{ 4, 2 },   /* version */
		{ 38, 33 }, /* session id */
		{ 40, 3 },  /* cipher suites: odd */
		{ 40, 0 },  /* none */
		{ 43, 0 },  /* compression methods: none */
		{ 43, 200 }, { 45, 1 },  { 46, 0 },  { 46, 255 }, { 50, 17 }, /* the name's extension */
		{ 50, 15 },  { 52, 13 }, { 52, 15 }, { 55, 255 }, { 55, 12 }, { 55, 10 },
	};
	struct hello message, hello;
	struct sniff sniff;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		hello_message(&message, &(struct hello_plan){ .name = "example.com" });
		hello_wrap(&hello, &message, &message.len, 1);
		assert_sniffs(tls_hello_sniff, hello.data, hello.len, hello.len, SNIFF_YES, &sniff);
		hello.data[5 + rows[i].at] = rows[i].value;
		memset(&sniff, 0, sizeof(sniff));
		assert_sniffs(tls_hello_sniff, hello.data, hello.len, hello.len, SNIFF_NO, &sniff);
	}
}

static void test_session(void **state)
{
	for (size_t len = 31; len <= 33; len++) {
		struct hello message, hello;
		struct sniff sniff = { 0 };

		hello_message(&message, &(struct hello_plan){ .name = "example.com" });
		memmove(message.data + 39 + len, message.data + 39, message.len - 39);
		message.len += len;
		message.data[38] = (uint8_t)len;
		message.data[3] = (uint8_t)(message.len - 4);
		hello_wrap(&hello, &message, &message.len, 1);
		assert_sniffs(tls_hello_sniff, hello.data, hello.len, hello.len,
			      len <= 32 ? SNIFF_YES : SNIFF_NO, &sniff);
		assert_string_equal(sniff.domain, len <= 32 ? "example.com" : "");
	}
}

/* A list of two, made of one long name: the first counts. */
static void test_two_names(void **state)
{
	struct hello_plan plan = { .name = "first.example###other.example" };
	struct hello hello;
	struct sniff sniff;
	uint8_t *name;

	hello_build(&hello, &plan);
	name = memmem(hello.data, hello.len, plan.name, strlen(plan.name));
	name[-1] = 13;
	name[13] = name[14] = 0; /* type, length */
	name[15] = 13;
	assert_sniffs(tls_hello_sniff, hello.data, hello.len, hello.len, SNIFF_YES, &sniff);
	assert_string_equal(sniff.domain, "first.example");
}

/* TLS 1.2 lets a hello end without extensions. */
static void test_no_extensions(void **state)
{
	struct hello message, hello;
	struct sniff sniff;

	hello_message(&message, &(struct hello_plan){ .name = NULL });
	message.len = 45;
	message.data[2] = 0;
	message.data[3] = 41;
	hello_wrap(&hello, &message, &message.len, 1);
	assert_sniffs(tls_hello_sniff, hello.data, hello.len, hello.len, SNIFF_YES, &sniff);
	assert_string_equal(sniff.domain, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),          cmocka_unit_test(test_offsets),
		cmocka_unit_test(test_every_boundary), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_not_a_hello),    cmocka_unit_test(test_bad_lengths),
		cmocka_unit_test(test_session),        cmocka_unit_test(test_two_names),
		cmocka_unit_test(test_no_extensions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
