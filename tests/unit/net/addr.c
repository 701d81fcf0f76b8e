/* Addresses as text, as sockaddr, and what they are. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <string.h>
#include <cmocka.h>
#include "net/addr.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static struct addr parsed(const char *text, uint16_t port)
{
	struct addr addr;

	if (addr_parse(text, port, &addr))
		fail_msg("\"%s\" is not taken", text);
	return addr;
}

static void test_parse_and_format(void **state)
{
	static const struct {
		const char *text;
		sa_family_t family;
		const char *formatted;
	} samples[] = {
		{ "0.0.0.0", AF_INET, "0.0.0.0:443" },
		{ "192.0.2.1", AF_INET, "192.0.2.1:443" },
		{ "255.255.255.255", AF_INET, "255.255.255.255:443" },
		{ "::", AF_INET6, "[::]:443" },
		{ "::1", AF_INET6, "[::1]:443" },
		{ "2001:DB8:0:0::0:5", AF_INET6, "[2001:db8::5]:443" },
		{ "::ffff:192.0.2.1", AF_INET, "192.0.2.1:443" }, /* unwrapped on the way in */
		{ "::ffff:c000:201", AF_INET, "192.0.2.1:443" },
		{ "::fffe:c000:201", AF_INET6, "[::fffe:c000:201]:443" },
	};
	char buf[ADDR_STRLEN];

	for (size_t i = 0; i < COUNT(samples); i++) {
		struct addr addr = parsed(samples[i].text, 443);

		assert_string_equal(addr_format(&addr, buf), samples[i].formatted);
		assert_int_equal(addr.family, samples[i].family);
		assert_int_equal(addr.port, 443);
		assert_int_equal(addr.scope, 0);
	}
}

static void test_refused_texts(void **state)
{
	static const char *const texts[] = { "",           " ",        "1.2.3",      "1.2.3.4.5",
					     "256.1.1.1",  "01.2.3.4", "1.2.3.4:80", "[::1]",
					     "fe80::1%lo", ":::",      "1::2::3",    "localhost",
					     "1.2.3.4 " };
	struct addr addr = { .family = 77 };

	for (size_t i = 0; i < COUNT(texts); i++) {
		if (addr_parse(texts[i], 1, &addr) != -EINVAL)
			fail_msg("\"%s\" is taken", texts[i]);
		assert_int_equal(addr.family, 77);
	}
}

static void test_longest_text_fits(void **state)
{
	struct addr addr = parsed("1111:2222:3333:4444:5555:6666:7777:8888", 65535);
	char buf[ADDR_STRLEN];

	addr.scope = UINT32_MAX;
	assert_string_equal(addr_format(&addr, buf),
			    "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535");
	addr.family = AF_UNSPEC;
	assert_string_equal(addr_format(&addr, buf), "none");
}

static void test_there_and_back(void **state)
{
	static const char *const texts[] = { "192.0.2.1", "0.0.0.0", "2001:db8::5",
					     "::", "fe80::1" };

	for (size_t i = 0; i < COUNT(texts); i++) {
		struct addr addr = parsed(texts[i], 8080), back = { 0 };
		struct sockaddr_storage sa;
		socklen_t len;

		if (addr.family == AF_INET6)
			addr.scope = 3;
		memset(&sa, 0xff, sizeof(sa));
		len = addr_to_sockaddr(&addr, &sa);
		assert_int_equal(len, addr.family == AF_INET ? sizeof(struct sockaddr_in)
							     : sizeof(struct sockaddr_in6));
		assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sa, &back), 0);
		assert_true(addr_equal(&addr, &back));
		assert_int_equal(back.port, 8080);
		assert_int_equal(back.scope, addr.scope);
	}
}

static void test_network_order(void **state)
{
	const struct addr addr = parsed("192.0.2.1", 0x1234);
	struct sockaddr_storage sa;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&sa;
	const uint8_t port[] = { 0x12, 0x34 }, ip[] = { 192, 0, 2, 1 };

	addr_to_sockaddr(&addr, &sa);
	assert_memory_equal(&in->sin_port, port, sizeof(port));
	assert_memory_equal(&in->sin_addr, ip, sizeof(ip));
}

static void test_mapped_is_unwrapped(void **state)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(80),
				    .sin6_scope_id = 5 };
	const struct addr expected = parsed("192.0.2.1", 80);
	struct addr addr;

	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &in6.sin6_addr), 1);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&in6, &addr), 0);
	assert_int_equal(addr.family, AF_INET);
	assert_int_equal(addr.scope, 0);
	assert_true(addr_equal(&addr, &expected));
}

static void test_other_families(void **state)
{
	const struct sockaddr sa = { .sa_family = AF_UNIX };
	struct addr addr = { .family = 77 };

	assert_int_equal(addr_from_sockaddr(&sa, &addr), -EAFNOSUPPORT);
	assert_int_equal(addr.family, 77);
}

static void test_equal(void **state)
{
	struct addr a = parsed("192.0.2.1", 80), b = a;

	assert_true(addr_equal(&a, &b));
	memset((char *)&b.v6 + sizeof(b.v4), 0xff,
	       sizeof(b.v6) - sizeof(b.v4)); /* not part of it */
	assert_true(addr_equal(&a, &b));
	b.port = 81;
	assert_false(addr_equal(&a, &b));
	b = parsed("192.0.2.2", 80);
	assert_false(addr_equal(&a, &b));
	a = parsed("fe80::1", 80);
	assert_false(addr_equal(&a, &b));
	b = a;
	assert_true(addr_equal(&a, &b));
	b.scope = 2;
	assert_false(addr_equal(&a, &b));
	b = parsed("fe80::2", 80);
	assert_false(addr_equal(&a, &b));
	a = b = (struct addr){ .family = AF_UNSPEC };
	assert_true(addr_equal(&a, &b));
}

static void test_kinds(void **state)
{
	static const struct {
		const char *text;
		bool unspecified, multicast;
	} samples[] = {
		{ "0.0.0.0", true, false },          { "::", true, false },
		{ "0.0.0.1", false, false },         { "::1", false, false },
		{ "192.0.2.1", false, false },       { "223.255.255.255", false, false },
		{ "224.0.0.0", false, true },        { "239.255.255.255", false, true },
		{ "240.0.0.0", false, false },       { "255.255.255.254", false, false },
		{ "255.255.255.255", false, true },  { "ff02::1", false, true },
		{ "feff::1", false, false },         { "2001:db8::ff", false, false },
		{ "::ffff:224.0.0.1", false, true }, { "::ffff:0.0.0.0", true, false },
	};
	static const struct {
		const char *text;
		bool is;
	} loopback[] = {
		{ "127.0.0.1", true },
		{ "127.255.255.255", true },
		{ "::ffff:127.0.0.1", true },
		{ "::1", true },
		{ "128.0.0.1", false },
		{ "126.255.255.255", false },
		{ "::2", false },
		{ "::", false },
		{ "0.0.0.0", false },
		{ "7f00::1", false },
	};
	const struct addr none = { .family = AF_UNSPEC };

	for (size_t i = 0; i < COUNT(samples); i++) {
		const struct addr addr = parsed(samples[i].text, 1);

		if (addr_is_unspecified(&addr) != samples[i].unspecified ||
		    addr_is_multicast(&addr) != samples[i].multicast)
			fail_msg("%s: unspecified %d, multicast %d", samples[i].text,
				 addr_is_unspecified(&addr), addr_is_multicast(&addr));
	}
	for (size_t i = 0; i < COUNT(loopback); i++) {
		const struct addr addr = parsed(loopback[i].text, 1);

		if (addr_is_loopback(&addr) != loopback[i].is)
			fail_msg("%s: loopback %d", loopback[i].text, addr_is_loopback(&addr));
	}
	assert_false(addr_is_loopback(&none));
	assert_false(addr_is_unspecified(&none));
	assert_false(addr_is_multicast(&none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_format),
		cmocka_unit_test(test_refused_texts),
		cmocka_unit_test(test_longest_text_fits),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_network_order),
		cmocka_unit_test(test_mapped_is_unwrapped),
		cmocka_unit_test(test_other_families),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_kinds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
