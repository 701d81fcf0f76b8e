/* Questions and answers as bytes: what is read of them, what is refused, that nothing is read past the end. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "../../fuzz/dns_message.c"
#include "base/names.h"
#include "question.h"

#define Q(flags, qd, ar) "\x12\x34" flags "\0" qd "\0\0\0\0\0" ar
#define RD               "\1\0"
#define NAME             "\3WwW\4test\0"
#define TAIL_A           "\0\1\0\1"
#define OPT(version)     "\0\0\x29\x10\0\0" version "\x80\0\0\0"
#define MESSAGE(text)    .bytes = (text), .size = sizeof(text) - 1

/* In a buffer of just that size, so that the sanitizer sees a byte too far. */
static uint8_t *exact(const void *bytes, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, size);
	return copy;
}

static int read_query(const void *bytes, size_t size, struct dns_query *ret)
{
	uint8_t *copy = exact(bytes, size);
	int r = dns_query_read(copy, size, ret);

	free(copy);
	return r;
}

#define L63    \
	"\x3f" \
	"aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg"
#define L61    \
	"\x3d" \
	"aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgg"

static const struct row {
	const char *what, *bytes;
	size_t size;
	int result;
	enum dns_rcode rcode;
	const char *name; /* NULL: no question was read */
} rows[] = {
	{ "plain", MESSAGE(Q(RD, "\1", "\0") NAME TAIL_A), 0, 0, "www.test" },
	{ "bytes behind it", MESSAGE(Q(RD, "\1", "\0") NAME TAIL_A "abc"), 0, 0, "www.test" },
	{ "EDNS", MESSAGE(Q(RD, "\1", "\1") NAME TAIL_A OPT("\0")), 0, 0, "www.test" },
	{ "root", MESSAGE(Q(RD, "\1", "\0") "\0\0\2\0\1"), 0, 0, "" },
	{ "a dot in a label", MESSAGE(Q(RD, "\1", "\0") "\3a.b\0" TAIL_A), 0, 0, "" },
	{ "a NUL in a label", MESSAGE(Q(RD, "\1", "\0") "\3a\0b\4test\0" TAIL_A), 0, 0, "" },
	{ "a backslash", MESSAGE(Q(RD, "\1", "\0") "\2a\\\0" TAIL_A), 0, 0, "" },
	{ "longest name", MESSAGE(Q(RD, "\1", "\0") L63 L63 L63 L61 "\0" TAIL_A), 0, 0, L63 "." },
	{ "a name too long", MESSAGE(Q(RD, "\1", "\0") L63 L63 L63 L63 "\0" TAIL_A), 0,
	  DNS_RCODE_FORMERR, NULL },
	{ "empty", MESSAGE(""), -EBADMSG, 0, NULL },
	{ "an answer", MESSAGE(Q("\x81\0", "\1", "\0") NAME TAIL_A), -EBADMSG, 0, NULL },
	{ "opcode NOTIFY", MESSAGE(Q("\x21\0", "\1", "\0") NAME TAIL_A), 0, DNS_RCODE_NOTIMP,
	  NULL },
	{ "no question", MESSAGE(Q(RD, "\0", "\0")), 0, DNS_RCODE_FORMERR, NULL },
	{ "two questions", MESSAGE(Q(RD, "\2", "\0") NAME TAIL_A NAME TAIL_A), 0, DNS_RCODE_FORMERR,
	  NULL },
	{ "a pointer to itself", MESSAGE(Q(RD, "\1", "\0") "\xc0\x0c" TAIL_A), 0, DNS_RCODE_FORMERR,
	  NULL },
	{ "a pointer behind a label", MESSAGE(Q(RD, "\1", "\0") "\1a\xc0\x0c" TAIL_A), 0,
	  DNS_RCODE_FORMERR, NULL },
	{ "label type 01", MESSAGE(Q(RD, "\1", "\0") "\x41" TAIL_A), 0, DNS_RCODE_FORMERR, NULL },
	{ "AXFR", MESSAGE(Q(RD, "\1", "\0") NAME "\0\xfc\0\1"), 0, DNS_RCODE_REFUSED, "www.test" },
	{ "IXFR", MESSAGE(Q(RD, "\1", "\0") NAME "\0\xfb\0\1"), 0, DNS_RCODE_REFUSED, "www.test" },
	{ "ANY", MESSAGE(Q(RD, "\1", "\0") NAME "\0\xff\0\1"), 0, 0, "www.test" },
	{ "type OPT", MESSAGE(Q(RD, "\1", "\0") NAME "\0\x29\0\1"), 0, DNS_RCODE_REFUSED,
	  "www.test" },
	{ "EDNS version 1", MESSAGE(Q(RD, "\1", "\1") NAME TAIL_A OPT("\1")), 0, DNS_RCODE_BADVERS,
	  "www.test" },
	{ "two OPT", MESSAGE(Q(RD, "\1", "\2") NAME TAIL_A OPT("\0") OPT("\0")), 0,
	  DNS_RCODE_FORMERR, "www.test" },
	{ "OPT of a name", MESSAGE(Q(RD, "\1", "\1") NAME TAIL_A "\1a" OPT("\0")), 0,
	  DNS_RCODE_FORMERR, "www.test" },
	{ "a record that is not there", MESSAGE(Q(RD, "\1", "\1") NAME TAIL_A), 0,
	  DNS_RCODE_FORMERR, "www.test" },
};

static void test_queries(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct dns_query query = { .id = 77 };
		int r = read_query(row->bytes, row->size, &query);

		if (r != row->result || query.id != (r ? 77 : 0x1234) || query.rcode != row->rcode)
			fail_msg("%s: %d, rcode %u", row->what, r, query.rcode);
		if (query.has_question != !!row->name)
			fail_msg("%s: the question was %sread", row->what, row->name ? "not " : "");
		if (row->name && row->name[0] == '\x3f')
			assert_int_equal(strlen(query.name), 253);
		else if (row->name && strcmp(query.name, row->name) != 0)
			fail_msg("%s: %s", row->what, query.name);
	}
}

static void test_fields(void **state)
{
	const struct asking asking = { "a.B.test", 65, 0xfffe, ASK_RD | ASK_AD, EDNS_DO };
	uint8_t message[512];
	struct dns_query query;

	assert_int_equal(read_query(message, write_question(message, &asking), &query), 0);
	assert_int_equal(query.id, 0xfffe);
	assert_int_equal(query.type, 65);
	assert_int_equal(query.class, 1);
	assert_int_equal(query.flags, ASK_RD | ASK_AD);
	assert_true(query.edns && query.dnssec_ok);
	assert_int_equal(query.udp_size, 4096);
	assert_int_equal(query.wire_length, 10);
	assert_memory_equal(query.wire, "\1a\1B\4test", 10);
	assert_string_equal(query.name, "a.b.test");
}

static void test_refusals(void **state)
{
	static const char formerr[] = "\x12\x34\x81\x81\0\0\0\0\0\0\0\0";
	static const char badvers[] = "\x12\x34\x81\x80\0\1\0\0\0\0\0\1" NAME TAIL_A
				      "\0\0\x29\4\xd0\1\0\x80\0\0\0";
	uint8_t out[DNS_QUERY_MAX];
	struct dns_query query;

	assert_int_equal(read_query(Q(RD, "\0", "\0"), 12, &query), 0);
	assert_int_equal(dns_query_refuse(&query, query.rcode, out), 12);
	assert_memory_equal(out, formerr, 12);
	assert_int_equal(read_query(Q(RD, "\1", "\1") NAME TAIL_A OPT("\1"),
				    12 + sizeof(NAME) + 3 + 11, &query),
			 0);
	assert_int_equal(dns_query_refuse(&query, query.rcode, out), sizeof(badvers) - 1);
	assert_memory_equal(out, badvers, sizeof(badvers) - 1);
}

static void cut_answers_say_so(void **state)
{
	static const char plain[] = "\x12\x34\x83\x80\0\1\0\0\0\0\0\0" NAME TAIL_A;
	uint8_t out[DNS_QUERY_MAX];
	struct dns_query query;

	assert_int_equal(read_query(Q(RD, "\1", "\0") NAME TAIL_A, 12 + sizeof(NAME) + 3, &query),
			 0);
	assert_int_equal(dns_query_truncate(&query, out), sizeof(plain) - 1);
	assert_memory_equal(out, plain, sizeof(plain) - 1);
}

#define A_HEAD(an, ns, ar) "\x12\x34\x81\x80\0\1\0" an "\0" ns "\0" ar NAME TAIL_A
#define RR_A(ttl)          "\xc0\x0c\0\1\0\1\0\0\0" ttl "\0\4\xc0\0\2\1"
#define RR_CNAME(ttl)      "\xc0\x0c\0\5\0\1\0\0\0" ttl "\0\4\1y\xc0\x0c"
#define RR_AAAA            "\1y\xc0\x0c\0\x1c\0\1\xff\xff\xff\xff\0\x10 \1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
#define RR_SOA(ttl, m)                            \
	"\4test\0\0\6\0\1\0\0\0" ttl "\0\x16\0\0" \
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" m
#define RR_OPT "\0\0\x29\4\xd0\0\0\0\0\0\0"

static const struct answer_row {
	const char *what, *bytes;
	size_t size;
	int result;
	size_t cut; /* at the end */
	uint32_t ttl_s;
	size_t addrs;
} answers[] = {
	{ "one", MESSAGE(A_HEAD("\1", "\0", "\0") RR_A("\x3c")), 0, 0, 60, 1 },
	{ "the lowest TTL", MESSAGE(A_HEAD("\2", "\0", "\0") RR_CNAME("\7") RR_A("\x3c")), 0, 0, 7,
	  1 },
	{ "also of others", MESSAGE(A_HEAD("\1", "\0", "\1") RR_A("\x3c") RR_A("\5")), 0, 0, 5, 1 },
	{ "a TTL with the top bit", MESSAGE(A_HEAD("\2", "\0", "\0") RR_A("\x3c") RR_AAAA), 0, 0, 0,
	  2 },
	{ "OPT", MESSAGE(A_HEAD("\1", "\0", "\1") RR_A("\x3c") RR_OPT), 0, 11, 60, 1 },
	{ "OPT, then more", MESSAGE(A_HEAD("\1", "\0", "\2") RR_A("\x3c") RR_OPT RR_A("\1")), 0, 27,
	  60, 1 },
	{ "bytes behind", MESSAGE(A_HEAD("\1", "\0", "\0") RR_A("\x3c") "abc"), 0, 3, 60, 1 },
	{ "negative", MESSAGE(A_HEAD("\0", "\1", "\0") RR_SOA("\x3c", "\x1e")), 0, 0, 30, 0 },
	{ "only a CNAME", MESSAGE(A_HEAD("\1", "\1", "\0") RR_CNAME("\x9") RR_SOA("\x3c", "\x1e")),
	  0, 0, 9, 0 },
	{ "negative, no SOA", MESSAGE(A_HEAD("\0", "\0", "\0")), 0, 0, 0, 0 },
	{ "no such section", MESSAGE(A_HEAD("\2", "\0", "\0") RR_A("\x3c")), -EBADMSG, 0, 0, 0 },
	{ "OPT as an answer", MESSAGE(A_HEAD("\1", "\0", "\0") RR_OPT), -EBADMSG, 0, 0, 0 },
	{ "another name", MESSAGE("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\3WWX\4test\0" TAIL_A), -EBADMSG,
	  0, 0, 0 },
	{ "another case", MESSAGE("\x12\x34\x81\x80\0\1\0\0\0\0\0\0\3wWw\4TEST\0" TAIL_A), 0, 0, 0,
	  0 },
	{ "another type", MESSAGE("\x12\x34\x81\x80\0\1\0\0\0\0\0\0" NAME "\0\2\0\1"), -EBADMSG, 0,
	  0, 0 },
	{ "another class", MESSAGE("\x12\x34\x81\x80\0\1\0\0\0\0\0\0" NAME "\0\1\0\3"), -EBADMSG, 0,
	  0, 0 },
	{ "a question", MESSAGE("\x12\x34\x01\x80\0\1\0\0\0\0\0\0" NAME TAIL_A), -EBADMSG, 0, 0,
	  0 },
	{ "no question", MESSAGE("\x12\x34\x81\x80\0\0\0\0\0\0\0\0" NAME TAIL_A), -EBADMSG, 0, 0,
	  0 },
	{ "a pointer to itself", MESSAGE(A_HEAD("\1", "\0", "\0") "\xc0\x1a\0\1\0\1\0\0\0\7\0\0"),
	  0, 0, 7, 0 },
};

static void plain_query(struct dns_query *ret)
{
	assert_int_equal(read_query(rows[0].bytes, rows[0].size, ret), 0);
}

static void test_answers(void **state)
{
	struct dns_query query;

	plain_query(&query);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		const struct answer_row *row = &answers[i];
		uint8_t *copy = exact(row->bytes, row->size);
		struct addr addrs[4];
		uint32_t ttl_s = 0, addrs_ttl_s;
		size_t size = 0, count = 0;
		int r = dns_answer_check(&query, copy, row->size, &size);

		if (!r) {
			ttl_s = dns_answer_ttl(&query, copy, size);
			count = dns_answer_addrs(copy, size, addrs, 4, &addrs_ttl_s);
		}
		if (r != row->result || (!r && size != row->size - row->cut))
			fail_msg("%s: %d, %zu bytes", row->what, r, size);
		if (ttl_s != row->ttl_s || count != row->addrs)
			fail_msg("%s: %u s, %zu addresses", row->what, ttl_s, count);
		free(copy);
	}
}

static void test_ageing(void **state)
{
	static const char before[] = A_HEAD("\2", "\0", "\0") RR_CNAME("\7") RR_A("\x3c"),
			  after[] = A_HEAD("\2", "\0", "\0") RR_CNAME("\0") RR_A("\x32");
	uint8_t *copy = exact(before, sizeof(before) - 1);

	dns_answer_age(copy, sizeof(before) - 1, 10);
	assert_memory_equal(copy, after, sizeof(after) - 1);
	free(copy);
}

static void test_addresses_stop_at_the_most(void **state)
{
	static const char three[] = A_HEAD("\3", "\0", "\0") RR_A("\7") RR_A("\7") RR_A("\7");
	struct addr addrs[2];
	uint32_t ttl_s = 0;

	assert_int_equal(
		dns_answer_addrs((const uint8_t *)three, sizeof(three) - 1, addrs, 2, &ttl_s), 2);
	assert_int_equal(ttl_s, 7);
	assert_int_equal(addrs[1].v4.s_addr, htonl(0xc0000201));
}

/* What is cut off anywhere is refused, or less is read. */
static void test_every_truncation(void **state)
{
	struct dns_query query;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (size_t size = 0; size < rows[i].size; size++) {
			int r = read_query(rows[i].bytes, size, &query);

			assert_int_equal(r < 0, size < 12 || rows[i].result);
			if (i == 0)
				assert_true(r < 0 || query.rcode == DNS_RCODE_FORMERR);
		}
	plain_query(&query);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		for (size_t size = 0; size < answers[i].size; size++) {
			uint8_t *copy = exact(answers[i].bytes, size);
			size_t kept;

			if (!dns_answer_check(&query, copy, size, &kept))
				assert_true(kept <= size && answers[i].cut);
			dns_answer_age(copy, size, 1);
			free(copy);
		}
}

static void replay(const char *path)
{
	uint8_t bytes[4096];
	FILE *file = fopen(path, "re");
	uint8_t *copy;
	size_t size;

	assert_non_null(file);
	size = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	copy = exact(bytes, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void test_corpus(void **state)
{
	DIR *dir = opendir(TEST_DATA "/messages");
	const struct dirent *entry;
	unsigned count = 0;
	char path[4096];

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/messages/%s", TEST_DATA, entry->d_name);
		replay(path);
		count++;
	}
	closedir(dir);
	assert_true(count >= 5);
}

/* One byte of a good pair changed to any other. */
static void test_mutants(void **state)
{
	static const char query[] = Q(RD, "\1", "\1") NAME TAIL_A OPT("\0"),
			  answer[] = A_HEAD("\2", "\1", "\1") RR_CNAME("\7") RR_A("\x3c")
				  RR_SOA("\x3c", "\x1e") RR_OPT;
	size_t size = sizeof(query) + sizeof(answer) - 1;
	uint8_t *bytes = malloc(size);

	assert_non_null(bytes);
	bytes[0] = sizeof(query) - 1;
	memcpy(bytes + 1, query, sizeof(query) - 1);
	memcpy(bytes + sizeof(query), answer, sizeof(answer) - 1);
	for (size_t at = 0; at < size; at++)
		for (int i = 0; i < 256; i++) {
			bytes[at]++;
			LLVMFuzzerTestOneInput(bytes, size);
		}
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cut_answers_say_so),
		cmocka_unit_test(test_queries),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_ageing),
		cmocka_unit_test(test_addresses_stop_at_the_most),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_corpus),
		cmocka_unit_test(test_mutants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
