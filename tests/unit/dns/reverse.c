/* Names of addresses: how long, how many, which. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "dns/reverse.h"

#define DAY_MS 86400000U

static struct addr host(uint32_t number)
{
	return (struct addr){ .family = AF_INET, .v4.s_addr = htonl(0x0a000000U + number) };
}

static int setup(void **state)
{
	return dns_reverse_new((struct dns_reverse **)state);
}

static int teardown(void **state)
{
	dns_reverse_free(*state);
	return 0;
}

static void put(struct dns_reverse *reverse, uint32_t number, const char *name, uint32_t ttl_s)
{
	const struct addr addr = host(number);

	dns_reverse_put(reverse, &addr, 1, name, ttl_s, 0);
}

static bool is(struct dns_reverse *reverse, uint32_t number, const char *name, uint64_t now_ms)
{
	char buf[DNS_REVERSE_NAME] = "untouched";
	const struct addr addr = host(number);
	bool found = dns_reverse_get(reverse, &addr, now_ms, buf);

	if (!found)
		assert_string_equal(buf, "untouched");
	return found && !strcmp(buf, name);
}

static void test_life(void **state)
{
	put(*state, 1, "a.test", 60);
	assert_true(is(*state, 1, "a.test", 59999));
	assert_false(is(*state, 1, "a.test", 60000));
	put(*state, 2, "b.test", 0);
	assert_true(is(*state, 2, "b.test", 9999));
	assert_false(is(*state, 2, "b.test", 10000));
	put(*state, 3, "c.test", UINT32_MAX);
	assert_true(is(*state, 3, "c.test", DAY_MS - 1));
	assert_false(is(*state, 3, "c.test", DAY_MS));
}

static void test_last_name_wins(void **state)
{
	put(*state, 1, "a.test", 60);
	put(*state, 1, "b.test", 30);
	assert_true(is(*state, 1, "b.test", 0));
	assert_false(is(*state, 1, "b.test", 30000));
}

static void test_bound(void **state)
{
	unsigned there = 0;
	char name[32];

	put(*state, 1, "one.test", 60);
	for (uint32_t i = 2; i <= DNS_REVERSE_CAPACITY + 100; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		put(*state, i, name, 60);
		assert_true(is(*state, 1, "one.test", 0)); /* is used */
	}
	for (uint32_t i = 2; i <= DNS_REVERSE_CAPACITY + 100; i++) {
		snprintf(name, sizeof(name), "n%u.test", i);
		there += is(*state, i, name, 0);
	}
	assert_int_equal(there, DNS_REVERSE_CAPACITY - 1);
	assert_false(is(*state, 2, "n2.test", 0));
}

static void test_addresses(void **state)
{
	struct addr several[4] = { host(1),
				   { .family = AF_INET, .port = 5 }, /* 0.0.0.0 */
				   { .family = AF_INET6 },
				   { .family = AF_INET6, .scope = 3 } };
	struct addr mapped = { .family = AF_INET6 }, none = { .family = AF_UNSPEC };
	char name[DNS_REVERSE_NAME];

	assert_int_equal(inet_pton(AF_INET6, "fe80::1", &several[3].v6), 1);
	dns_reverse_put(*state, several, 4, "a.test", 60, 0);
	assert_true(is(*state, 1, "a.test", 0));
	assert_false(dns_reverse_get(*state, &several[1], 0, name));
	assert_false(dns_reverse_get(*state, &several[2], 0, name));
	several[3].port = 443;
	assert_true(dns_reverse_get(*state, &several[3], 0, name));
	assert_int_equal(inet_pton(AF_INET6, "::ffff:10.0.0.1", &mapped.v6), 1);
	assert_false(dns_reverse_get(*state, &mapped, 0, name));
	assert_false(dns_reverse_get(*state, &none, 0, name));
}

static void test_names(void **state)
{
	char longest[DNS_REVERSE_NAME + 1];

	memset(longest, 'a', sizeof(longest));
	longest[DNS_REVERSE_NAME] = '\0';
	put(*state, 1, longest, 60);
	assert_false(is(*state, 1, longest, 0));
	longest[DNS_REVERSE_NAME - 1] = '\0';
	put(*state, 1, longest, 60);
	assert_true(is(*state, 1, longest, 0));
	put(*state, 2, "", 60);
	assert_false(is(*state, 2, "", 0));
}

static void *work(void *arg)
{
	for (uint32_t i = 0; i < 20000; i++) {
		put(arg, i % 5000, "a.test", 60);
		(void)is(arg, (i * 7) % 5000, "a.test", 0);
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, *state), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_true(is(*state, 4999, "a.test", 0));
}

#define TEST(func) cmocka_unit_test_setup_teardown(func, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life),      TEST(test_last_name_wins), TEST(test_bound),
		TEST(test_addresses), TEST(test_names),          TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
