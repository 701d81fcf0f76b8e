/* What is a name, and what it is written like. */
#include "common.h"

static void test_names(void **state)
{
	static const struct {
		const char *name, *want; /* NULL: not one */
	} rows[] = {
		{ "example.com", "example.com" },
		{ "Example.COM.", "example.com" },
		{ "localhost", "localhost" },
		{ "a", "a" },
		{ "xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd.xn--p1ai" },
		{ "_dns.resolver_1.arpa", "_dns.resolver_1.arpa" },
		{ "r3---sn-4g5e.example", "r3---sn-4g5e.example" },
		{ "1.2.3.example", "1.2.3.example" },
		{ "1.2.3.4a", "1.2.3.4a" },
		{ "4.in-addr.arpa", "4.in-addr.arpa" },
		{ "", NULL },
		{ ".", NULL },
		{ "..", NULL },
		{ ".example.com", NULL },
		{ "example..com", NULL },
		{ "example.com..", NULL },
		{ "192.0.2.1", NULL },
		{ "192.0.2.1.", NULL },
		{ "1", NULL },
		{ "example.123", NULL },
		{ "2001:db8::1", NULL },
		{ "::ffff", NULL },
		{ "[::1]", NULL },
		{ "exam ple.com", NULL },
		{ "ex\xc3\xa4mple.com", NULL },
		{ "a/b", NULL },
		{ "a@b", NULL },
		{ "*.example.com", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char domain[SNIFF_DOMAIN_MAX] = "before";
		bool is = sniff_domain((const uint8_t *)rows[i].name, strlen(rows[i].name), domain);

		if (is != !!rows[i].want)
			fail_msg("\"%s\" is%s a name", rows[i].name, is ? "" : " not");
		assert_string_equal(domain, is ? rows[i].want : "before");
	}
}

/* @labels of @len bytes, then a dot if @dot. */
static bool is_name(size_t labels, size_t len, bool dot, const char *end)
{
	char domain[SNIFF_DOMAIN_MAX];
	uint8_t *name = test_malloc(labels * (len + 1) + strlen(end) + 1);
	size_t at = 0;
	bool is;

	for (size_t i = 0; i < labels; i++) {
		memset(name + at, 'a', len);
		at += len;
		name[at++] = '.';
	}
	put_text(name + at, end);
	at += strlen(end);
	if (dot)
		name[at++] = '.';
	is = sniff_domain(name, at, domain);
	assert_true(!is || strlen(domain) == at - dot);
	test_free(name);
	return is;
}

static void test_limits(void **state)
{
	assert_true(is_name(1, 63, false, "com"));
	assert_false(is_name(1, 64, false, "com"));
	assert_true(is_name(125, 1, false, "com"));   /* 253 */
	assert_true(is_name(125, 1, true, "com"));    /* the dot does not count */
	assert_false(is_name(125, 1, false, "info")); /* 254 */
	assert_false(is_name(126, 1, false, "com"));
	assert_false(is_name(4, 63, false, "com"));
}

static void test_bytes(void **state)
{
	char domain[SNIFF_DOMAIN_MAX];

	assert_false(sniff_domain(BYTES("a\0b.com"), domain));
	assert_false(sniff_domain(BYTES("a.com\0"), domain));
	assert_false(sniff_domain(NULL, 0, domain));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
