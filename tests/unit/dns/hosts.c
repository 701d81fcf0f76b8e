/* /etc/hosts, as servers of type local know it. */
#include <sys/stat.h>
#include "dns/forward.h"
#include "kit.h"
#include "question.h"

static char path[] = "/tmp/seam-hosts-XXXXXX";

static void write_hosts(const char *text, size_t size)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

#define WRITE(text) write_hosts(text, sizeof(text) - 1)

static int setup(void **state)
{
	struct kit *kit;
	int fd;

	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	kit_setup(state);
	kit = *state;
	kit->tuning.hosts = path;
	kit_again(kit);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return kit_teardown(state);
}

/* The answer as text: its addresses, or what DNS says. Nobody was asked. */
static const char *told(struct kit *kit, const char *name, enum dns_type type)
{
	static char text[1024];
	struct asked asked = { 0 };
	size_t used = 0;

	text[0] = '\0';
	assert_int_equal(ask(kit, &asked, BY_LOCAL, name, type), 1);
	for (unsigned i = 0; i < asked.answer.count; i++) {
		char address[INET6_ADDRSTRLEN];
		const struct addr *addr = &asked.answer.addrs[i];

		assert_non_null(inet_ntop(
			addr->family, addr->family == AF_INET ? (const void *)&addr->v4 : &addr->v6,
			address, sizeof(address)));
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", used ? " " : "",
					 address);
	}
	if (asked.answer.status != DNS_OK)
		return dns_status_names[asked.answer.status];
	assert_true(asked.answer.count > 0);
	return text;
}

static void test_lines(void **state)
{
	static const struct {
		const char *name, *a, *aaaa;
	} cases[] = {
		{ "one.test", "10.0.0.1", "2001:db8::1 2001:db8::2" },
		{ "ONE.test.", "10.0.0.1", "2001:db8::1 2001:db8::2" },
		{ "alias", "10.0.0.1", "no such record" },
		{ "upper.test", "10.0.0.2 10.0.0.1", "no such record" },
		{ "six.test", "no such record", "2001:db8::1" },
		{ "last.test", "10.0.0.9", "no such record" },
		{ "not.test", "server unreachable", "server unreachable" },
		{ "ne.test", "server unreachable", "server unreachable" },
		{ "one.test.x", "server unreachable", "server unreachable" },
		{ "words", "server unreachable", "server unreachable" },
		{ "localhost", "127.0.0.1", "::1" },
	};
	struct kit *kit = *state;

	kit->open_error = -ENETUNREACH; /* of questions */
	WRITE("# a comment with 10.0.0.3 not.test\n"
	      "10.0.0.2\tUpper.Test\n"
	      " 10.0.0.1  one.test. alias upper.test # not.test\r\n"
	      "2001:db8::1 one.test six.test\n"
	      "2001:db8::2 one.test one.test\n"
	      "2001:db8::1 one.test\n"
	      "some words not.test\n"
	      "10.0.0.300 not.test\n"
	      "10.0.0.4\n"
	      "10.0.0.4 #not.test\n"
	      "10.0.0.5 -..- a..b \\not.test localhost\n"
	      "\n"
	      "10.0.0.9 last.test");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_string_equal(told(kit, cases[i].name, DNS_A), cases[i].a);
		assert_string_equal(told(kit, cases[i].name, DNS_AAAA), cases[i].aaaa);
	}
}

/* It comes before the cache, and again when it is another file. Servers of other types know nothing of it. */
static void test_changes(void **state)
{
	struct asked asked = { 0 };
	struct kit *kit = *state;

	assert_int_equal(ask(kit, &asked, BY_UDP, "ok.test", DNS_A), 0);
	wait_for(kit, &asked, 1);
	WRITE("10.0.0.7 ok.test other.test\n");
	assert_string_equal(told(kit, "ok.test", DNS_A), "10.0.0.7");
	assert_int_equal(ask(kit, &asked, BY_UDP, "ok.test", DNS_A), 1);
	assert_true(asked.answer.cached);
	WRITE("10.0.0.71 ok.test\n");
	assert_string_equal(told(kit, "ok.test", DNS_A), "10.0.0.71");
	kit->open_error = -ENETUNREACH;
	assert_string_equal(told(kit, "other.test", DNS_A), "server unreachable");
	unlink(path);
	turn(kit, 1);
	assert_string_equal(told(kit, "ok.test", DNS_A), "server unreachable");
	assert_int_equal(mkfifo(path, 0600), 0); /* nobody writes: it must not be waited for */
	assert_string_equal(told(kit, "ok2.test", DNS_A), "server unreachable");
	unlink(path);
	WRITE("10.0.0.8 ok.test\n");
	assert_string_equal(told(kit, "ok.test", DNS_A), "10.0.0.8");
}

static void never(struct dns_forward *forward, const struct dns_raw *answer)
{
	fail();
}

/* The answer to a client's question; nobody was asked. */
static struct dns_raw client_told(struct kit *kit, size_t server, const struct asking *asking)
{
	struct dns_forward forward = { .done = never };
	uint8_t message[512];
	struct dns_raw raw;

	assert_int_equal(dns_query_read(message, write_question(message, asking), &forward.query),
			 0);
	kit->open_error = -ENETUNREACH;
	assert_int_equal(resolver_forward(kit->resolver, &forward, server, &raw), 1);
	kit->open_error = 0;
	return raw;
}

static void expect_told(struct kit *kit, const struct asking *asking, unsigned count,
			const char *records, size_t records_size)
{
	struct dns_raw raw = client_told(kit, BY_LOCAL, asking);
	size_t question = strlen(asking->name) + 6, head = DNS_HEADER_SIZE + question;
	const uint8_t start[] = {
		(uint8_t)(asking->id >> 8), (uint8_t)asking->id, 0x81, 0x80, 0, 1
	};
	const uint8_t *opt = raw.bytes + head + records_size;

	assert_memory_equal(raw.bytes, start, sizeof(start));
	assert_int_equal(raw.bytes[7], count);
	assert_int_equal(raw.size, head + records_size + (asking->edns == NO_EDNS ? 0 : 11));
	assert_memory_equal(raw.bytes + head, records, records_size);
	assert_int_equal(raw.bytes[11], asking->edns != NO_EDNS);
	if (asking->edns != NO_EDNS)
		assert_memory_equal(opt, "\0\0\x29", 3);
}

#define RECORD(type, data) "\xc0\x0c\0" type "\0\1\0\0\0\x3c\0" data

/* Clients are told the same, of addresses. */
static void test_forwarded(void **state)
{
	struct asking asking = { "One.test", DNS_RECORD_A, 0x1234, ASK_RD, NO_EDNS };
	static const char a[] = RECORD("\1", "\4\xa\0\0\1") RECORD("\1", "\4\xa\0\0\2"),
			  aaaa[] = RECORD("\x1c", "\x10\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1");
	struct kit *kit = *state;

	WRITE("10.0.0.1 one.test\n10.0.0.2 one.test four.test\n2001:db8::1 one.test\n");
	expect_told(kit, &asking, 2, a, sizeof(a) - 1);
	asking.edns = EDNS;
	expect_told(kit, &asking, 2, a, sizeof(a) - 1);
	asking.type = DNS_RECORD_AAAA;
	expect_told(kit, &asking, 1, aaaa, sizeof(aaaa) - 1);
	asking.name = "four.test";
	expect_told(kit, &asking, 0, "", 0);
	asking.name = "five.test"; /* SERVFAIL: there is no server */
	assert_int_equal(client_told(kit, BY_LOCAL, &asking).bytes[3] & 15, DNS_RCODE_SERVFAIL);
	asking.name = "one.test";
	asking.type = 16;
	assert_int_equal(client_told(kit, BY_LOCAL, &asking).bytes[3] & 15, DNS_RCODE_SERVFAIL);
	asking.type = DNS_RECORD_A;
	assert_int_equal(client_told(kit, BY_UDP, &asking).bytes[3] & 15, DNS_RCODE_SERVFAIL);
	kit->config.strategy = STRATEGY_IPV6_ONLY;
	kit_again(kit);
	expect_told(kit, &asking, 0, "", 0);
}

/* More addresses than an answer holds, more than is read, and bytes that are no text. */
static void test_limits(void **state)
{
	static char text[(1 << 20) + 4096];
	struct kit *kit = *state;
	size_t used = 0;

	kit->open_error = -ENETUNREACH;
	for (unsigned i = 0; used < sizeof(text) - 100; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "10.%u.%u.%u n%u.test%s\n", i >> 16, i >> 8 & 255, i & 255,
					 i, i < 40 ? " many.test" : "");
	write_hosts(text, used);
	assert_string_equal(told(kit, "n0.test", DNS_A), "10.0.0.0");
	assert_string_equal(told(kit, "n30000.test", DNS_A), "10.0.117.48");
	assert_string_equal(told(kit, "n0.test", DNS_AAAA), "no such record");
	assert_string_equal(told(kit, "many.test", DNS_A),
			    "10.0.0.0 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 "
			    "10.0.0.7 10.0.0.8 10.0.0.9 10.0.0.10 10.0.0.11 10.0.0.12 10.0.0.13 "
			    "10.0.0.14 10.0.0.15");
	memset(text, 'a', sizeof(text)); /* one line without an end */
	write_hosts(text, sizeof(text));
	assert_string_equal(told(kit, "n0.test", DNS_A), "server unreachable");
	srandom(1);
	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < 2000; i++)
			text[i] = "10.0.0.1 \n#ab.\0\xff"[random() % 16];
		write_hosts(text, 1000 + (size_t)round);
		told(kit, "ab", DNS_A);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forwarded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
