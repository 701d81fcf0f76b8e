/* Where a hello is cut, and what the pieces show and do not. */
#include "hello.h"
#include "proto/tls_fragment.h"
#include "proto/tls_hello.h"

#define ROUNDS 400

struct row {
	const char *name;
	const char
		*hidden; /* what no piece may contain; NULL: more than one, see test_every_label */
};

static const struct row rows[] = {
	{ "www.example.com", "example" },
	{ "example.com", "example" },
	{ "EXAMPLE.Com.", "EXAMPLE" },
	{ "a.b.c.d.e.f.g.h.i.j.example.co.uk", "example" },
	{ "www.xn--e1afmkfd.xn--p1ai", "xn--e1afmkfd" },
	{ "someone.github.io", "someone" },
	{ "city.kawasaki.jp", "city" }, /* an exception of the list */
	{ "x.b.c.kawasaki.jp", "b.c" }, /* a wildcard; one byte: cut off */
	{ "ab.com", "ab" },
	{ "t.co", "t.co" },
	{ "www.aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff123.org",
	  "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff123" },
	{ "localhost", "localhost" },
	{ "com", "com" }, /* nothing but a suffix */
	{ "github.io", "github" },
	{ "printer.local", "printer" },
};

/* A place for a boundary of records in each of @count equal parts of the message. */
static void build_random(struct hello *ret, const char *name)
{
	struct hello_plan plan = { .name = name,
				   .size = 200 + (size_t)rand() % (16384 - 200),
				   .name_last = rand() % 2 };
	size_t ends[4], count = 1 + (size_t)rand() % 4;
	struct hello message;

	if (rand() % 2)
		plan.size = 200 + plan.size % 1600;
	hello_message(&message, &plan);
	for (size_t i = 0; i < count; i++)
		ends[i] = message.len * i / count + 1 + (size_t)rand() % (message.len / count);
	ends[count - 1] = message.len;
	if (rand() % 2 && count > 1) { /* in the name */
		uint8_t *at = memmem(message.data, message.len, name, strlen(name));

		ends[0] = (size_t)(at - message.data) + (size_t)rand() % strlen(name);
		count = 2;
		ends[1] = message.len;
	}
	hello_wrap(ret, &message, ends, count);
	hello_text(ret, "\x14\3\3\0\1\1", 6);
}

/* The content of records, without their headers. */
static size_t strip(const uint8_t *data, size_t len, uint8_t *out)
{
	size_t at = 0, done = 0;

	while (at < len) {
		size_t size = (size_t)data[at + 3] << 8 | data[at + 4];

		assert_memory_equal(data + at, "\x16\3\1", 3);
		assert_true(size && size <= 16384);
		assert_true(at + 5 + size <= len);
		memcpy(out + done, data + at + 5, size);
		done += size;
		at += 5 + size;
	}
	return done;
}

/* In a buffer of just its size, as the fuzzers have it. */
static size_t cut_exact(const struct hello *hello, size_t len, uint32_t random, size_t *ret_cuts)
{
	uint8_t *copy = test_malloc(len);
	size_t count;

	memcpy(copy, hello->data, len);
	count = tls_fragment_cuts(copy, len, random, ret_cuts);
	test_free(copy);
	return count;
}

static void check_packets(const struct hello *hello, const struct row *row, const size_t *cuts,
			  size_t count)
{
	static uint8_t joined[HELLO_MAX];
	size_t at = 0;

	for (size_t i = 0; i <= count; i++) {
		size_t end = i < count ? cuts[i] : hello->len;

		assert_true(end > at && end <= hello->len);
		if (memmem(hello->data + at, end - at, row->hidden, strlen(row->hidden)))
			fail_msg("piece %zu of %zu shows %s", i, count + 1, row->hidden);
		memcpy(joined + at, hello->data + at, end - at);
		at = end;
	}
	assert_memory_equal(joined, hello->data, hello->len);
}

static void check_records(const struct hello *hello, const struct row *row, const size_t *cuts,
			  size_t count)
{
	static uint8_t before[HELLO_MAX], after[HELLO_MAX];
	size_t ends[TLS_FRAGMENT_CUTS_MAX + 1], written, len, at = 0;
	size_t size = hello->len + (size_t)5 * (TLS_FRAGMENT_CUTS_MAX + 2);
	size_t hidden = strlen(row->hidden);
	uint8_t *out = test_malloc(size), *tight;
	struct tls_hello old, again;

	written = tls_fragment_records(hello->data, hello->len, cuts, count, out, size, ends);
	assert_true(written);
	assert_int_equal(ends[count], written);
	for (size_t i = 0; i <= count; at = ends[i++]) {
		assert_true(ends[i] > at + 5);
		len = strip(out + at, ends[i] - at, after); /* whole records */
		assert_null(memmem(after, len, row->hidden, hidden));
		/* nor with a byte of the header before it, but where the cut is one byte in */
		if (hidden > 2 && !strchr(row->hidden, '.'))
			assert_null(memmem(out + at, ends[i] - at, row->hidden, hidden));
	}
	len = strip(hello->data, hello->bytes, before);
	assert_int_equal(strip(out, written, after), len);
	assert_memory_equal(before, after, len);
	assert_int_equal(tls_hello_parse(hello->data, hello->len, &old), SNIFF_YES);
	assert_int_equal(tls_hello_parse(out, written, &again), SNIFF_YES);
	assert_string_equal(again.domain, old.domain);
	assert_int_equal(again.bytes, written);
	tight = test_malloc(written);
	assert_int_equal(
		tls_fragment_records(hello->data, hello->len, cuts, count, tight, written, ends),
		written);
	assert_memory_equal(tight, out, written);
	assert_int_equal(tls_fragment_records(hello->data, hello->len, cuts, count, tight,
					      written - 1, ends),
			 0);
	test_free(tight);
	test_free(out);
}

static void test_random(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (unsigned round = 0; round < ROUNDS; round++) {
			size_t cuts[TLS_FRAGMENT_CUTS_MAX], count;
			struct tls_hello parsed;
			struct hello hello;

			build_random(&hello, rows[i].name);
			count = cut_exact(&hello, hello.len, (uint32_t)rand(), cuts);
			if (count != 1)
				fail_msg("%zu cuts in %s", count, rows[i].name);
			assert_int_equal(tls_hello_parse(hello.data, hello.len, &parsed),
					 SNIFF_YES);
			assert_true(cuts[0] > parsed.sni_offset);
			assert_true(cuts[0] < parsed.sni_offset + parsed.sni_len);
			check_packets(&hello, &rows[i], cuts, count);
			check_records(&hello, &rows[i], cuts, count);
		}
}

/* Where the suffix is not known; the names of the labels differ, so that they can be looked for. */
static void test_every_label(void **state)
{
	static const char name[] = "l0l.l1l.l2l.l3l.l4l.l5l.l6l.l7l.l8l.l9l.invalid";
	struct hello_plan plan = { .name = name };
	size_t cuts[TLS_FRAGMENT_CUTS_MAX];
	struct hello hello;

	for (size_t labels = 1; labels <= 10; labels++) {
		size_t want = labels < TLS_FRAGMENT_CUTS_MAX ? labels : TLS_FRAGMENT_CUTS_MAX;

		plan.name = name + 4 * (10 - labels);
		hello_build(&hello, &plan);
		assert_int_equal(cut_exact(&hello, hello.len, (uint32_t)labels, cuts), want);
		for (size_t i = 10 - want; i < 10; i++) {
			struct row row = { .hidden = (char[]){ 'l', (char)('0' + i), 'l', 0 } };

			check_packets(&hello, &row, cuts, want);
			check_records(&hello, &row, cuts, want);
		}
	}
}

/* @random reaches every place inside the label, and none but these. */
static void test_places(void **state)
{
	struct hello_plan plan = { .name = "www.example.com" };
	unsigned seen[64] = { 0 };
	struct tls_hello parsed;
	struct hello hello;

	hello_build(&hello, &plan);
	assert_int_equal(tls_hello_parse(hello.data, hello.len, &parsed), SNIFF_YES);
	for (uint32_t random = 0; random < 60; random++) {
		size_t cuts[TLS_FRAGMENT_CUTS_MAX];

		assert_int_equal(cut_exact(&hello, hello.len, random * 0x01234567, cuts), 1);
		assert_in_range(cuts[0] - parsed.sni_offset, 6, 10); /* "www.ex" to "www.exampl" */
		seen[cuts[0] - parsed.sni_offset]++;
	}
	for (size_t i = 6; i <= 10; i++)
		assert_true(seen[i]);
}

static void test_nothing_to_cut(void **state)
{
	static const char *const names[] = { NULL,  "",  ".example.com", "192.0.2.1",
					     "::1", "a", "exa mple.com" };
	size_t cuts[TLS_FRAGMENT_CUTS_MAX], ends[TLS_FRAGMENT_CUTS_MAX + 1];
	static uint8_t out[HELLO_MAX];
	struct hello hello;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		hello_build(&hello, &(struct hello_plan){ .name = names[i], .records = 2 });
		assert_int_equal(cut_exact(&hello, hello.len, 7, cuts), 0);
		assert_int_equal(tls_fragment_records(hello.data, hello.len, cuts, 0, out,
						      sizeof(out), ends),
				 hello.len - 5);
	}
	hello_build(&hello, &(struct hello_plan){ .name = "example.com" });
	for (size_t len = 1; len < hello.len; len++) {
		assert_int_equal(cut_exact(&hello, len, 7, cuts), 0);
		assert_int_equal(
			tls_fragment_records(hello.data, len, cuts, 0, out, sizeof(out), ends), 0);
	}
}

/* A message of more than a record holds: a piece is then two records. */
static void test_largest(void **state)
{
	size_t cuts[TLS_FRAGMENT_CUTS_MAX], ends[] = { 3, 16388 };
	struct row row = { "large.example.com", "example" };
	struct hello message, hello;

	hello_message(&message,
		      &(struct hello_plan){ .name = row.name, .size = 16388, .name_last = true });
	hello_wrap(&hello, &message, (size_t[]){ 16384, 16388 }, 2);
	assert_int_equal(cut_exact(&hello, hello.len, 7, cuts), 1);
	check_packets(&hello, &row, cuts, 1);
	check_records(&hello, &row, cuts, 1);
	hello_message(&message, &(struct hello_plan){ .size = 16388 });
	hello_wrap(&hello, &message, (size_t[]){ 10, 16388 }, 2);
	check_records(&hello, &row, ends, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),  cmocka_unit_test(test_every_label),
		cmocka_unit_test(test_places),  cmocka_unit_test(test_nothing_to_cut),
		cmocka_unit_test(test_largest),
	};

	srand(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
