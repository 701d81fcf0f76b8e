/* How long a negative answer holds, as its message says; that no message is read past its end. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/names.h"
#include "dns/soa.h"

#define HEADER(qd, an, ns) "\x12\x34\x81\x83\0" qd "\0" an "\0" ns "\0\0"
#define QUESTION           "\1x\4test\0\0\1\0\1"
/* owner, type, class, ttl, length */
#define CNAME_RR           "\xc0\x0c\0\5\0\1\0\0\0\x3c\0\3\1y\0"
#define NS_RR              "\xc0\x0c\0\2\0\1\0\0\0\x3c\0\4\1n\xc0\x0c"
#define NUMBERS            "\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4"
#define SOA(ttl, minimum)  "\4test\0\0\6\0\1" ttl "\0\x20\2ns\xc0\x0e\4root\xc0\x0e" NUMBERS minimum
#define TTL_900            "\0\0\3\x84"
#define TTL_60             "\0\0\0\x3c"
#define TTL_HUGE           "\xff\xff\xff\xff"
#define MESSAGE(text)      .bytes = (text), .size = sizeof(text) - 1

static const struct row {
	const char *name, *bytes;
	size_t size;
	int result;
	uint32_t ttl_s;
} rows[] = {
	{ "minimum is less", MESSAGE(HEADER("\1", "\0", "\1") QUESTION SOA(TTL_900, TTL_60)), 0,
	  60 },
	{ "ttl is less", MESSAGE(HEADER("\1", "\0", "\1") QUESTION SOA(TTL_60, TTL_900)), 0, 60 },
	{ "after a CNAME", MESSAGE(HEADER("\1", "\1", "\1") QUESTION CNAME_RR SOA(TTL_60, TTL_60)),
	  0, 60 },
	{ "after an NS", MESSAGE(HEADER("\1", "\0", "\2") QUESTION NS_RR SOA(TTL_900, TTL_60)), 0,
	  60 },
	{ "no question", MESSAGE(HEADER("\0", "\0", "\1") SOA(TTL_900, TTL_60)), 0, 60 },
	{ "top bit of a ttl", MESSAGE(HEADER("\1", "\0", "\1") QUESTION SOA(TTL_HUGE, TTL_60)), 0,
	  0 },
	{ "top bit of a minimum", MESSAGE(HEADER("\1", "\0", "\1") QUESTION SOA(TTL_60, TTL_HUGE)),
	  0, 60 },
	{ "no authority", MESSAGE(HEADER("\1", "\0", "\0") QUESTION), -ENOENT, 0 },
	{ "no SOA", MESSAGE(HEADER("\1", "\0", "\1") QUESTION NS_RR), -ENOENT, 0 },
	{ "SOA among the answers", MESSAGE(HEADER("\1", "\1", "\0") QUESTION SOA(TTL_60, TTL_60)),
	  -ENOENT, 0 },
	{ "SOA of another class",
	  MESSAGE(HEADER("\0", "\0", "\1") "\0\0\6\0\3" TTL_60 "\0\x16\0\0" NUMBERS TTL_60),
	  -ENOENT, 0 },
	{ "data too short",
	  MESSAGE(HEADER("\0", "\0", "\1") "\0\0\6\0\1" TTL_60 "\0\2\0\0" NUMBERS TTL_60), -EBADMSG,
	  0 },
	{ "counts lie", MESSAGE(HEADER("\1", "\xff", "\1") QUESTION SOA(TTL_900, TTL_60)), -EBADMSG,
	  0 },
	{ "label type 01", MESSAGE(HEADER("\0", "\0", "\1") "\x41\0\0\6\0\1" TTL_60), -EBADMSG, 0 },
	{ "empty", MESSAGE(""), -EBADMSG, 0 },
};

/* In a buffer of just that size, so that the sanitizer sees a byte too far. */
static int ttl_of(const char *bytes, size_t size, uint32_t *ret)
{
	uint8_t *copy = malloc(size ? size : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, bytes, size);
	r = dns_soa_ttl(copy, size, ret);
	free(copy);
	return r;
}

static void test_table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t ttl_s = 77;
		int r = ttl_of(rows[i].bytes, rows[i].size, &ttl_s);

		if (r != rows[i].result || ttl_s != (r ? 77 : rows[i].ttl_s))
			fail_msg("%s: %d, %u s", rows[i].name, r, ttl_s);
	}
}

static void test_every_length(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (size_t size = 0; !rows[i].result && size < rows[i].size; size++) {
			uint32_t ttl_s = 77;

			assert_int_equal(ttl_of(rows[i].bytes, size, &ttl_s), -EBADMSG);
			assert_int_equal(ttl_s, 77);
		}
	}
}

/* Any one byte wrong: only the sanitizer has an opinion. */
static void test_every_byte_wrong(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (size_t at = 0; at < rows[i].size; at++) {
			char *copy = malloc(rows[i].size);

			assert_non_null(copy);
			for (int value = 0; value < 256; value++) {
				uint32_t ttl_s;
				int r;

				memcpy(copy, rows[i].bytes, rows[i].size);
				copy[at] = (char)value;
				r = dns_soa_ttl((uint8_t *)copy, rows[i].size, &ttl_s);
				assert_true(!r || r == -EBADMSG || r == -ENOENT);
			}
			free(copy);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_every_byte_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
