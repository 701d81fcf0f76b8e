/* What the cache keeps, how long, and what leaves when it is full; and which names are names. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/names.h"
#include "dns/cache.h"

static const struct hash_key secret = { { 1, 2 } };

static struct dns_key key_of(const char *name)
{
	struct dns_key key;

	assert_int_equal(dns_key_init(&key, &secret, 0, name, DNS_A), 0);
	return key;
}

static struct dns_answer answer_of(unsigned count, uint32_t ttl_s)
{
	struct dns_answer answer = { .status = count ? DNS_OK : DNS_NO_NAME,
				     .count = count,
				     .ttl_s = ttl_s };

	for (unsigned i = 0; i < count; i++)
		answer.addrs[i] = (struct addr){ .family = AF_INET, .v4.s_addr = htonl(i + 1) };
	return answer;
}

static void put(struct lru *cache, const char *name, unsigned count, uint32_t ttl_s,
		uint64_t now_ms)
{
	struct dns_key key = key_of(name);
	struct dns_answer answer = answer_of(count, ttl_s);

	dns_cache_put(cache, &key, &answer, now_ms);
}

static bool has(struct lru *cache, const char *name, uint64_t now_ms, struct dns_answer *ret)
{
	struct dns_key key = key_of(name);

	return dns_cache_get(cache, &key, now_ms, ret);
}

static void test_answers_come_back_whole(void **state)
{
	struct lru cache;
	struct dns_answer answer;

	assert_int_equal(lru_init(&cache, 100), 0);
	for (unsigned count = 0; count <= DNS_ADDRS_MAX; count++) {
		struct dns_answer given = answer_of(count, 60);
		char name[32];

		snprintf(name, sizeof(name), "n%u.test", count);
		put(&cache, name, count, 60, 1000);
		assert_true(has(&cache, name, 1000, &answer));
		assert_int_equal(answer.status, given.status);
		assert_int_equal(answer.count, count);
		assert_int_equal(answer.ttl_s, 60);
		assert_true(answer.cached);
		for (unsigned i = 0; i < count; i++)
			assert_true(addr_equal(&answer.addrs[i], &given.addrs[i]));
	}
	assert_int_equal(cache.count, DNS_ADDRS_MAX + 1);
	lru_deinit(&cache);
	lru_deinit(&cache);
}

static void test_expiry(void **state)
{
	struct lru cache;
	struct dns_answer answer;

	assert_int_equal(lru_init(&cache, 4), 0);
	put(&cache, "a.test", 1, 2, 5000);
	assert_true(has(&cache, "a.test", 5001, &answer));
	assert_int_equal(answer.ttl_s, 2); /* 1.999 s */
	assert_true(has(&cache, "a.test", 6000, &answer));
	assert_int_equal(answer.ttl_s, 1);
	assert_true(has(&cache, "a.test", 6999, &answer));
	assert_int_equal(answer.ttl_s, 1);
	assert_int_equal(cache.count, 1);
	assert_false(has(&cache, "a.test", 7000, &answer));
	assert_int_equal(cache.count, 0);
	put(&cache, "b.test", 1, 0, 5000);
	assert_false(has(&cache, "b.test", 5000, &answer));
	lru_deinit(&cache);
}

static void test_least_recently_used_leaves(void **state)
{
	struct lru cache;
	struct dns_answer answer;

	assert_int_equal(lru_init(&cache, 3), 0);
	put(&cache, "a.test", 1, 60, 0);
	put(&cache, "b.test", 1, 60, 0);
	put(&cache, "c.test", 1, 60, 0);
	assert_true(has(&cache, "a.test", 0, &answer));
	put(&cache, "d.test", 1, 60, 0);
	assert_int_equal(cache.count, 3);
	assert_false(has(&cache, "b.test", 0, &answer));
	assert_true(has(&cache, "a.test", 0, &answer));
	assert_true(has(&cache, "c.test", 0, &answer));
	assert_true(has(&cache, "d.test", 0, &answer));
	put(&cache, "a.test", 5, 30, 0); /* replaces, evicts nobody */
	assert_int_equal(cache.count, 3);
	assert_true(has(&cache, "a.test", 0, &answer));
	assert_int_equal(answer.count, 5);
	assert_int_equal(answer.ttl_s, 30);
	lru_deinit(&cache);
}

static void test_bound_holds(void **state)
{
	struct lru cache;
	struct dns_answer answer;
	unsigned there = 0;
	char name[32];

	assert_int_equal(lru_init(&cache, 50), 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d.test", i);
		put(&cache, name, 1, 60, 0);
		assert_true(cache.count <= 50);
	}
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d.test", i);
		there += has(&cache, name, 0, &answer);
	}
	assert_int_equal(there, 50);
	lru_deinit(&cache);
}

static void test_no_capacity(void **state)
{
	struct lru cache;
	struct dns_answer answer;

	assert_int_equal(lru_init(&cache, 0), 0);
	put(&cache, "a.test", 1, 60, 0);
	assert_false(has(&cache, "a.test", 0, &answer));
	lru_deinit(&cache);
}

static void test_keys(void **state)
{
	struct dns_key a = key_of("Example.TEST."), b = key_of("example.test"), other;

	assert_string_equal(a.name, "example.test");
	assert_true(dns_key_equal(&a, &b));
	assert_int_equal(dns_key_init(&other, &secret, 1, "example.test", DNS_A), 0);
	assert_false(dns_key_equal(&a, &other));
	assert_int_equal(dns_key_init(&other, &secret, 0, "example.test", DNS_AAAA), 0);
	assert_false(dns_key_equal(&a, &other));
	other = key_of("example.tesu");
	assert_false(dns_key_equal(&a, &other));
}

static void test_localhost(void **state)
{
	static const char *const yes[] = { "localhost", "LOCALHOST.", "a.localhost" };
	static const char *const no[] = { "xlocalhost", "localhost.test", "ocalhost", "local" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		struct dns_key key = key_of(yes[i]);

		assert_true(dns_key_is_localhost(&key));
	}
	for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
		struct dns_key key = key_of(no[i]);

		assert_false(dns_key_is_localhost(&key));
	}
}

#define L50  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"
#define L63  L50 "fffffffffffff"
#define LONG L63 "." L63 "." L63 "." /* 192 */

static void test_names(void **state)
{
	static const char *const good[] = { "a",
					    "a.b",
					    "a.b.",
					    "xn--bcher-kva.test",
					    "_srv.test",
					    L63 ".test",
					    LONG L50 "ffffffffff1",
					    LONG L50 "ffffffffff1." };
	static const char *const bad[] = { "",
					   ".",
					   "..",
					   ".a",
					   "a..b",
					   "a..",
					   "a b",
					   "a\tb",
					   "a\\.b",
					   "b\xc3\xbc.test",
					   L63 "g.test",
					   LONG L50 "ffffffffff12",
					   LONG LONG LONG };
	struct dns_key key;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (dns_key_init(&key, &secret, 0, good[i], DNS_A) != 0)
			fail_msg("\"%s\" is refused", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (dns_key_init(&key, &secret, 0, bad[i], DNS_A) != -EINVAL)
			fail_msg("\"%s\" is taken", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_come_back_whole),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_least_recently_used_leaves),
		cmocka_unit_test(test_bound_holds),
		cmocka_unit_test(test_no_capacity),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_localhost),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
