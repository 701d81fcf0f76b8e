/* Numbers with units, and the rows of the schema that are written with them. */
#include <errno.h>
#include "base/names.h"
#include "common.h"
#include "config/form.h"
#include "config/schema.h"
#include "config/value.h"

struct sample {
	const char *text;
	int result;
	uint64_t value;
};

typedef int parse_fn(const char *text, uint64_t *ret);

#define L61 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define L63 L61 "xx"
#define A31 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

static void check(parse_fn *parse, const struct sample *sample)
{
	uint64_t value = 7;
	int r = parse(sample->text, &value);

	if (r != sample->result || value != (r ? 7 : sample->value))
		fail_msg("\"%s\": %d, %llu", sample->text, r, (unsigned long long)value);
}

static void test_durations(void **state)
{
	static const struct sample samples[] = {
		{ "0s", 0, 0 },
		{ "300ms", 0, 300 },
		{ "5s", 0, 5000 },
		{ "1h30m", 0, 5400000 },
		{ "1d2h3m4s5ms", 0, 93784005 },
		{ "100m", 0, 6000000 },
		{ "007s", 0, 7000 },
		{ "213503982334d", 0, 213503982334ULL * 86400000 },
		{ "213503982335d", -ERANGE, 0 },
		{ "213503982334d99999999999999999ms", -ERANGE, 0 },
		{ "18446744073709551616ms", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "5", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "5 s", -EINVAL, 0 },
		{ " 5s", -EINVAL, 0 },
		{ "5s ", -EINVAL, 0 },
		{ "-5s", -EINVAL, 0 },
		{ "1.5s", -EINVAL, 0 },
		{ "5S", -EINVAL, 0 },
		{ "5sec", -EINVAL, 0 },
		{ "5us", -EINVAL, 0 },
		{ "5s5s", -EINVAL, 0 },
		{ "5ms5s", -EINVAL, 0 },
		{ "5hm", -EINVAL, 0 },
		{ "5s3", -EINVAL, 0 },
	};

	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++)
		check(value_duration, &samples[i]);
}

static void test_sizes(void **state)
{
	static const struct sample samples[] = {
		{ "0", 0, 0 },
		{ "65536", 0, 65536 },
		{ "7B", 0, 7 },
		{ "64KiB", 0, 65536 },
		{ "16MiB", 0, 16777216 },
		{ "1GiB", 0, 1073741824 },
		{ "1TiB", 0, 1099511627776 },
		{ "1kB", 0, 1000 },
		{ "2MB", 0, 2000000 },
		{ "3GB", 0, 3000000000 },
		{ "1TB", 0, 1000000000000 },
		{ "16777215TiB", 0, 16777215ULL << 40 },
		{ "16777216TiB", -ERANGE, 0 },
		{ "64k", -EINVAL, 0 },
		{ "64K", -EINVAL, 0 },
		{ "64KB", -EINVAL, 0 },
		{ "64kib", -EINVAL, 0 },
		{ "64 KiB", -EINVAL, 0 },
		{ "1.5GiB", -EINVAL, 0 },
		{ "KiB", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
	};

	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++)
		check(value_size, &samples[i]);
}

static void test_integers(void **state)
{
	static const struct sample samples[] = {
		{ "1514", 0, 1514 },
		{ "0x5ea", 0, 1514 },
		{ "0xFFFFffff", 0, UINT32_MAX },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "0x10000000000000000", -ERANGE, 0 },
		{ "0x", -EINVAL, 0 },
		{ "0X5ea", -EINVAL, 0 },
		{ "5ea", -EINVAL, 0 },
		{ "0x5eg", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
	};

	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++)
		check(value_integer, &samples[i]);
}

static void test_prefixes(void **state)
{
	static const struct {
		const char *text;
		int bits; /* -1: refused */
		const char *masked;
	} samples[] = {
		{ "10.1.2.3/8", 8, "10.0.0.0:0" },
		{ "10.1.2.3/0", 0, "0.0.0.0:0" },
		{ "255.255.255.255/31", 31, "255.255.255.254:0" },
		{ "255.255.255.255/17", 17, "255.255.128.0:0" },
		{ "192.0.2.1/32", 32, "192.0.2.1:0" },
		{ "2001:db8::1/128", 128, "[2001:db8::1]:0" },
		{ "ffff:ffff:ffff:ffff::1/61", 61, "[ffff:ffff:ffff:fff8::]:0" },
		{ "::1/0", 0, "[::]:0" },
		{ "10.0.0.0/33", -1, NULL },
		{ "::/129", -1, NULL },
		{ "10.0.0.0/08", -1, NULL },
		{ "10.0.0.0/00", -1, NULL },
		{ "10.0.0.0/", -1, NULL },
		{ "10.0.0.0/+8", -1, NULL },
		{ "10.0.0.0/8 ", -1, NULL },
		{ "10.0.0.0/8/8", -1, NULL },
		{ "10.0.0.0/99999999999999999999", -1, NULL },
		{ "10.0.0/8", -1, NULL },
		{ "10.0.0.0", -1, NULL },
		{ "/8", -1, NULL },
		{ "", -1, NULL },
		{ "::ffff:10.0.0.0/104", -1, NULL },
		{ "::ffff:10.0.0.0/8", -1, NULL },
		{ "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000/8", -1, NULL },
	};

	for (size_t i = 0; i < sizeof(samples) / sizeof(*samples); i++) {
		struct config_prefix prefix = { .bits = 77 };
		int r = value_prefix(samples[i].text, &prefix);
		char buf[ADDR_STRLEN];

		if (samples[i].bits < 0) {
			if (r != -EINVAL || prefix.bits != 77)
				fail_msg("%s is taken", samples[i].text);
			continue;
		}
		value_prefix_mask(&prefix);
		if (r || prefix.bits != samples[i].bits ||
		    strcmp(addr_format(&prefix.addr, buf), samples[i].masked) != 0)
			fail_msg("%s: %d", samples[i].text, r);
	}
}

static void test_hosts(void **state)
{
	static const char *const good[] = {
		"192.0.2.1",
		"2001:db8::1",
		"example.org",
		"example.org.",
		"localhost",
		"_dns.a-b.0x",
		"1.2.3.example",
		"xn--lu-iza3f.example",
		L63 "." L63 "." L63 "." L61,
		L63 "." L63 "." L63 "." L61 ".",
	};
	static const char *const bad[] = {
		"",
		".",
		"..",
		".a",
		"a..",
		"a.b..c",
		"a b",
		"a/b",
		"1.2.3",
		"1.2.3.4.",
		"a:1",
		"\xc5\xbe",
		L63 "." L63 "." L63 "." L61 "x",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		if (form_host(good[i]))
			fail_msg("\"%s\": %s", good[i], form_host(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!form_host(bad[i]))
			fail_msg("\"%s\" is taken", bad[i]);
}

static void test_keys(void **state)
{
	static const char *const bad[] = {
		"",
		A31 A31,
		A31 "AAAAAAAAAAAAA", /* no padding */
		A31 "AAAAAAAAAAAB=", /* two bits too many */
		A31 "AAAAAAAAAAAC=",
		A31 "AAAAAAAAAA-A=", /* the alphabet of URLs */
		A31 "AAAAAAAAAA A=",
		A31 "AAAAAAAAAAA==",
		A31 "AAAAAAAAAAA=",
		A31 "AAAAAAAAAAAAA=",
		" " A31 "AAAAAAAAAAA=",
	};
	uint8_t key[WIREGUARD_KEY_BYTES] = { 0 }, want[WIREGUARD_KEY_BYTES];

	for (unsigned i = 0; i < sizeof(want); i++)
		want[i] = (uint8_t)(255 - 7 * i);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(value_key(bad[i], key), -EINVAL);
	assert_int_equal(key[0], 0);
	assert_int_equal(value_key("//jx6uPc1c7HwLmyq6Sdlo+IgXpzbGVeV1BJQjs0LSY=", key), 0);
	assert_memory_equal(key, want, sizeof(key));
}

static void test_macs_and_uuids(void **state)
{
	static const char *const bad_macs[] = { "",
						"00:11:22:33:44",
						"00:11:22:33:44:5",
						"00:11:22:33:44:55:",
						"00:11:22:33:44:55:66",
						"00-11-22-33-44-55",
						"0:11:22:33:44:55",
						"g0:11:22:33:44:55" };
	static const char *const bad_uuids[] = { "",
						 "01234567-89ab-cdef-0123-456789abcde",
						 "01234567-89ab-cdef-0123-456789abcdef0",
						 "0123456789abcdef0123456789abcdef",
						 "{1234567-89ab-cdef-0123-456789abcdef}",
						 "012345678-9ab-cdef-0123-456789abcdef" };
	struct config_mac mac = { { 7 } };
	uint8_t uuid[VLESS_UUID_BYTES] = { 7 };

	for (size_t i = 0; i < ARRAY_SIZE(bad_macs); i++)
		assert_int_equal(value_mac(bad_macs[i], &mac), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad_uuids); i++)
		assert_int_equal(value_uuid(bad_uuids[i], uuid), -EINVAL);
	assert_int_equal(mac.bytes[0], 7);
	assert_int_equal(uuid[0], 7);
	assert_int_equal(value_mac("00:1f:F0:99:aA:ff", &mac), 0);
	assert_memory_equal(mac.bytes, "\x00\x1f\xf0\x99\xaa\xff", 6);
	assert_int_equal(value_uuid("fF234567-89ab-cdef-0123-4567890bcdef", uuid), 0);
	assert_memory_equal(uuid, "\xff#Eg\x89\xab\xcd\xef\x01#Eg\x89\x0b\xcd\xef", 16);
}

static void test_port_ranges(void **state)
{
	static const struct {
		const char *text;
		int result;
		unsigned first, last;
	} samples[] = {
		{ "1000:2000", 0, 1000, 2000 }, { ":3000", 0, 0, 3000 },
		{ "4000:", 0, 4000, 65535 },    { "5:5", 0, 5, 5 },
		{ ":", -EINVAL, 0, 0 },         { "", -EINVAL, 0, 0 },
		{ "80", -EINVAL, 0, 0 },        { "1:2:3", -EINVAL, 0, 0 },
		{ "1-2", -EINVAL, 0, 0 },       { " 1:2", -EINVAL, 0, 0 },
		{ "2:1", -ERANGE, 0, 0 },       { "1:65536", -ERANGE, 0, 0 },
		{ "65536:", -ERANGE, 0, 0 },    { "1:99999999999999999999", -EINVAL, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct config_ports ports = { 0 };

		if (value_port_range(samples[i].text, &ports) != samples[i].result ||
		    ports.first != samples[i].first || ports.last != samples[i].last)
			fail_msg("\"%s\"", samples[i].text);
	}
}

struct form_sample {
	const char *(*form)(const char *text);
	const char *text;
	bool good;
};

static void test_forms(void **state)
{
	static const struct form_sample samples[] = {
		{ form_domain, "a.example.", true },
		{ form_domain, ".a.example", false },
		{ form_domain, "192.0.2.1", false },
		{ form_domain, "::1", false },
		{ form_domain, "", false },
		{ form_domain, "*.example", false },
		{ form_suffix, ".a.example", true },
		{ form_suffix, "cn", true },
		{ form_suffix, ".", false },
		{ form_suffix, "..a", false },
		{ form_keyword, "-ads.", true },
		{ form_keyword, "a b", false },
		{ form_keyword, "", false },
		{ form_keyword, "\xc5\xbe", false },
		{ form_header_name, "X-A_b!", true },
		{ form_header_name, "X A", false },
		{ form_header_name, "X:", false },
		{ form_header_name, "", false },
		{ form_header_value, "", true },
		{ form_header_value, "a\r\nb", false },
		{ form_url, "http://a.example", true },
		{ form_url, "HTTP://a.example:80/x?y#z", true },
		{ form_url, "http://192.0.2.1?x:y", true },
		{ form_url, "http://[::1]", true },
		{ form_url, "http://[::1]:65535/", true },
		{ form_url, "http://[::1]a", false },
		{ form_url, "http://[::1", false },
		{ form_url, "http://[a", false },
		{ form_url, "http://a.example:", false },
		{ form_url, "http://a.example:0", false },
		{ form_url, "http://a.example:65536/", false },
		{ form_url, "http://a.example:8a/", false },
		{ form_url, "http://me:x@a.example/", false },
		{ form_url, "http://", false },
		{ form_url, "http:///x", false },
		{ form_url, "http://a.example/ x", false },
		{ form_url, "https://a.example/", false },
		{ form_url, "a.example", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		if (!samples[i].form(samples[i].text) != samples[i].good)
			fail_msg("\"%s\"", samples[i].text);
}

static parse_fn *parser_of(enum key_type type)
{
	if (type == KEY_SIZE)
		return value_size;
	return type == KEY_DURATION || type == KEY_MILLISECONDS ? value_duration : value_integer;
}

static void check_range(const struct schema_key *key)
{
	parse_fn *parse = parser_of(key->type);
	uint64_t min = 1, max = 0, initial = 0;

	if (!key->min)
		return;
	if (parse(key->min, &min) || parse(key->max, &max) || min > max)
		fail_msg("the range of %s", key->name);
	if (!key->count_offset && key->offset != SCHEMA_NO_FIELD && key->size < sizeof(max) &&
	    max >> (8 * key->size))
		fail_msg("%s does not fit its field", key->name);
	if (key->initial && !key->count_offset && key->type != KEY_AUTO_INTEGER &&
	    (parse(key->initial, &initial) || initial < min || initial > max))
		fail_msg("the default of %s", key->name);
}

static void check_row(const struct schema_key *key, enum section section)
{
	bool leaf = key->type != KEY_OBJECT && key->type != KEY_ARRAY;
	bool list = key->type >= KEY_PREFIX_LIST && key->type != KEY_OBJECT;
	bool worded = key->type == KEY_ENUM || key->type == KEY_ENUM_LIST;

	if (schema_find(section, key->name) != key)
		fail_msg("%s is there twice", key->name);
	if ((leaf && !key->help) || worded != (key->words != NULL))
		fail_msg("the row of %s", key->name);
	if (list != (key->count_offset != 0))
		fail_msg("the list of %s", key->name);
	if (key->required && key->initial)
		fail_msg("%s needs no default", key->name);
}

static bool names_key(const struct schema_key *key, const char *name)
{
	return !name || schema_find(key->section, name);
}

/* Keys that rows name are there. */
static void check_references(const struct schema_key *key)
{
	if (!names_key(key, key->unless) || !names_key(key, key->needs) ||
	    !names_key(key, key->only ? "type" : NULL) ||
	    !names_key(key, key->actions ? "action" : NULL))
		fail_msg("%s names no key", key->name);
	for (const char *const *name = key->conflicts; name && *name; name++)
		if (!names_key(key, *name))
			fail_msg("%s conflicts with no key", key->name);
	if (key->shorthand && schema_find(key->child, key->shorthand)->type != KEY_STRING)
		fail_msg("%s cannot be shortened", key->name);
}

/* Ranges are text too: each must parse, be in order, hold the default, and fit into its field. */
static void test_schema(void **state)
{
	for (unsigned section = 0; section < SECTION_COUNT; section++) {
		size_t count = 0;

		schema_for_each(key, section)
		{
			check_range(key);
			check_row(key, section);
			check_references(key);
			count++;
		}
		assert_true(count > 0 && count <= SCHEMA_KEYS_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),   cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_integers),    cmocka_unit_test(test_schema),
		cmocka_unit_test(test_prefixes),    cmocka_unit_test(test_keys),
		cmocka_unit_test(test_hosts),       cmocka_unit_test(test_macs_and_uuids),
		cmocka_unit_test(test_port_ranges), cmocka_unit_test(test_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
