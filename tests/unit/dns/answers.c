/* What a server answers, and what a resolver makes of it. */
#include "kit.h"

static void test_addresses(void **state)
{
	struct kit *kit = *state;
	struct dns_answer answer = answer_to(kit, BY_UDP, "ok.test", DNS_A);

	assert_int_equal(answer.status, DNS_OK);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.ttl_s, 60);
	assert_false(answer.cached);
	assert_int_equal(answer.addrs[0].family, AF_INET);
	assert_is_host(&answer.addrs[0], 1);
	answer = answer_to(kit, BY_UDP, "ok.test", DNS_AAAA);
	assert_int_equal(answer.status, DNS_OK);
	assert_int_equal(answer.count, 1);
	assert_int_equal(answer.addrs[0].family, AF_INET6);
	assert_is_host(&answer.addrs[0], 1);
	assert_int_equal(kit->server.seen, 2);
	assert_int_equal(kit->server.seen_edns, 2);
	assert_int_equal(kit->opened[0], 2);
	assert_int_equal(kit->opened[1], 0);
	assert_int_equal(kit->opened_for, BY_UDP);
	assert_int_equal(kit->family, AF_INET);
}

static void check_many(const struct dns_answer *answer)
{
	assert_int_equal(answer->status, DNS_OK);
	assert_int_equal(answer->count, DNS_ADDRS_MAX);
	assert_int_equal(answer->ttl_s, 60);
	assert_is_host(&answer->addrs[0], 1);
	for (uint8_t i = 1; i < DNS_ADDRS_MAX; i++) /* without duplicates, in order */
		assert_is_host(&answer->addrs[i], i + 2);
}

static void test_many(void **state)
{
	struct kit *kit = *state;
	struct dns_answer answer = answer_to(kit, BY_UDP, "many.test", DNS_A);

	check_many(&answer);
	answer = answer_to(kit, BY_UDP, "many.test", DNS_AAAA); /* 26 * 28 bytes: needs EDNS */
	check_many(&answer);
	assert_int_equal(kit->server.seen_tcp, 0);
}

static void test_times(void **state)
{
	struct kit *kit = *state;
	struct dns_answer answer = answer_to(kit, BY_UDP, "cname.test", DNS_A);

	assert_int_equal(answer.status, DNS_OK);
	assert_int_equal(answer.ttl_s, 5); /* of the CNAME, the address has 60 */
	assert_int_equal(answer.count, 1);
	assert_is_host(&answer.addrs[0], 1);
	assert_int_equal(answer_to(kit, BY_UDP, "short.test", DNS_A).ttl_s, 1);
	assert_int_equal(answer_to(kit, BY_UDP, "forever.test", DNS_A).ttl_s, 86400);
}

static void test_mapped_is_dropped(void **state)
{
	struct kit *kit = *state;
	struct dns_answer answer = answer_to(kit, BY_UDP, "mapped.test", DNS_AAAA);

	assert_int_equal(answer.status, DNS_OK);
	assert_int_equal(answer.count, 1);
	assert_is_host(&answer.addrs[0], 7);
}

static void test_negative(void **state)
{
	static const struct {
		const char *name;
		enum dns_status status;
		uint32_t ttl_s;
	} rows[] = {
		{ "nx.test", DNS_NO_NAME, 60 },       { "nosoa.test", DNS_NO_NAME, 0 },
		{ "nodata.test", DNS_NO_DATA, 60 },   { "dangling.test", DNS_NO_DATA, 60 },
		{ "servfail.test", DNS_SERVFAIL, 1 }, { "refused.test", DNS_REFUSED, 1 },
		{ "notimp.test", DNS_REFUSED, 1 },    { "strange.test", DNS_MALFORMED, 1 },
		{ "broken.test", DNS_MALFORMED, 1 },
	};
	struct kit *kit = *state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		for (int way = BY_UDP; way <= BY_TCP; way++) {
			struct dns_answer answer = answer_to(kit, (size_t)way, rows[i].name, DNS_A);

			if (answer.status != rows[i].status || answer.ttl_s != rows[i].ttl_s ||
			    answer.count)
				fail_msg("%s by %d: %s for %u s", rows[i].name, way,
					 dns_status_names[answer.status], answer.ttl_s);
		}
	}
	assert_int_equal(stats_of(kit).failures, 10);
	kit->server.soa_ttl_s = 0;
	assert_int_equal(answer_to(kit, BY_UDP, "nx1.test", DNS_A).ttl_s, 1);
	kit->server.soa_ttl_s = 899;
	assert_int_equal(answer_to(kit, BY_UDP, "nx2.test", DNS_A).ttl_s, 300);
}

static void test_truncation_leads_to_tcp(void **state)
{
	struct kit *kit = *state;
	struct dns_answer answer = answer_to(kit, BY_UDP, "trunc.test", DNS_A);

	check_many(&answer);
	assert_int_equal(kit->server.seen, 2);
	assert_int_equal(kit->server.seen_tcp, 1);
	assert_int_equal(kit->opened[0], 1);
	assert_int_equal(kit->opened[1], 1);
}

static void test_tcp(void **state)
{
	struct kit *kit = *state;

	assert_int_equal(status_of(kit, BY_TCP, "ok.test"), DNS_OK);
	assert_int_equal(kit->server.seen, 1);
	assert_int_equal(kit->server.seen_tcp, 1);
	assert_int_equal(kit->opened[0], 0);
	assert_int_equal(kit->opened[1], 1);
	assert_int_equal(kit->opened_for, BY_TCP);
}

static void test_tcp_hangs_up(void **state)
{
	struct kit *kit = *state;
	uint64_t before = clock_ms();
	enum dns_status status = status_of(kit, BY_TCP, "hangup.test");

	assert_true(status == DNS_NO_SOCKET || status == DNS_TIMEOUT);
	assert_true(clock_ms() - before < 2000);
	assert_int_equal(status_of(kit, BY_TCP, "ok.test"), DNS_OK);
}

static void test_pipelined_tcp(void **state)
{
	struct kit *kit = *state;
	struct asked asked[20] = { 0 };

	for (int i = 0; i < 20; i++) {
		char name[32];

		snprintf(name, sizeof(name), "many%d.test", i);
		assert_int_equal(ask(kit, &asked[i], BY_TCP, name, DNS_AAAA), 0);
	}
	for (int i = 0; i < 20; i++) {
		wait_for(kit, &asked[i], 1);
		check_many(&asked[i].answer);
	}
	assert_int_equal(kit->server.accepted, 1);
}

static void test_garbage_is_ignored(void **state)
{
	struct kit *kit = *state;
	struct dns_answer answer = answer_to(kit, BY_UDP, "garbage.test", DNS_A);

	assert_int_equal(answer.status, DNS_OK);
	assert_int_equal(answer.count, 1);
	assert_is_host(&answer.addrs[0], 1);
	assert_int_equal(kit->server.seen, 1);
}

/* 200 datagrams that lead nowhere must not keep the loop from everything else meanwhile. */
static void test_flood_leaves_turns(void **state)
{
	struct kit *kit = *state;
	struct asked asked = { 0 };
	unsigned turns = 0;

	assert_int_equal(ask(kit, &asked, BY_UDP, "garbage.test", DNS_A), 0);
	while (!kit->server.seen)
		assert_int_equal(loop_run_once(&kit->loop, 1000), 0);
	for (; !asked.calls; turns++)
		assert_int_equal(loop_run_once(&kit->loop, 1000), 0);
	assert_int_equal(asked.answer.status, DNS_OK);
	assert_true(turns >= 4);
}

static void test_silence(void **state)
{
	struct kit *kit = *state;
	uint64_t before = clock_ms(), took;

	assert_int_equal(status_of(kit, BY_UDP, "silent.test"), DNS_TIMEOUT);
	took = clock_ms() - before;
	assert_in_range(took, 400, 1500); /* 200 + 400 with 1.18 */
	assert_int_equal(kit->server.seen, 2);
	assert_int_equal(kit->opened[0], 1);
	assert_int_equal(status_of(kit, BY_TCP, "silent.test"), DNS_TIMEOUT);
}

static void test_second_try(void **state)
{
	struct kit *kit = *state;

	assert_int_equal(status_of(kit, BY_UDP, "late.test"), DNS_OK);
	assert_int_equal(kit->server.seen, 2);
}

/* Nobody listens: an ICMP error by UDP, a reset by TCP. That is not waited for. */
static void test_closed_port(void **state)
{
	struct kit *kit = *state;

	for (size_t way = BY_UDP; way <= BY_TCP; way++)
		kit->servers[way].server.port = 1;
	kit_again(kit);
	for (size_t way = BY_UDP; way <= BY_TCP; way++) {
		uint64_t before = clock_ms();

		assert_int_equal(status_of(kit, way, "ok.test"), DNS_NO_SOCKET);
		assert_true(clock_ms() - before < 150);
	}
}

static void test_ipv6_server(void **state)
{
	struct kit *kit = *state;

	for (size_t way = BY_UDP; way <= BY_TCP; way++) {
		assert_int_equal(addr_parse("::1", 1, &kit->servers[way].server), 0);
		kit_again(kit);
		assert_int_equal(status_of(kit, way, "ok.test"), DNS_NO_SOCKET);
		assert_int_equal(kit->family, AF_INET6);
		assert_true(kit->opened[way] > 0);
	}
}

static void test_no_socket(void **state)
{
	static const int errors[] = { -EMFILE, -EPERM, -ENETUNREACH, -ENODEV, -EAFNOSUPPORT };
	struct kit *kit = *state;

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		for (size_t way = 0; way < WAYS; way++) {
			struct asked asked = { 0 };
			char name[32];

			snprintf(name, sizeof(name), "ok%zu.test", i);
			kit->open_error = errors[i];
			assert_int_equal(ask(kit, &asked, way, name, DNS_A), 1); /* at once */
			assert_int_equal(asked.answer.status, DNS_NO_SOCKET);
			assert_int_equal(kit->opened_for, way);
			turn(kit, 0);
			assert_int_equal(asked.calls, 0);
		}
	}
	kit->open_error = 0;
	assert_int_equal(status_of(kit, BY_UDP, "ok.test"), DNS_OK);
	assert_int_equal(status_of(kit, BY_TCP, "ok.test"), DNS_OK);
}

/* A socket that fails for one question must not end another inside resolver_ask(). */
static void test_sockets_fail_meanwhile(void **state)
{
	struct kit *kit = *state;
	struct asked first = { 0 }, second = { 0 };

	assert_int_equal(ask(kit, &first, BY_TCP, "silent.test", DNS_A), 0);
	turn(kit, 20);
	kit->open_error = -EMFILE;
	(void)ask(kit, &second, BY_TCP, "hangup.test", DNS_A);
	wait_for(kit, &first, 1);
	turn(kit, 700);
	assert_int_equal(first.calls, 1);
	assert_true(second.calls == 1 || second.answer.status == DNS_NO_SOCKET);
}

static void test_never_asked(void **state)
{
	static const char *const bad[] = { "", ".", "a..b", "a b", "a\\.b" };
	struct kit *kit = *state;
	struct asked asked = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(ask(kit, &asked, BY_UDP, bad[i], DNS_A), 1);
		assert_int_equal(asked.answer.status, DNS_BAD_NAME);
	}
	assert_int_equal(ask(kit, &asked, BY_UDP, "LocalHost.", DNS_A), 1);
	assert_int_equal(asked.answer.status, DNS_OK);
	assert_int_equal(asked.answer.count, 1);
	assert_int_equal(asked.answer.addrs[0].family, AF_INET);
	assert_int_equal(asked.answer.addrs[0].v4.s_addr, htonl(INADDR_LOOPBACK));
	assert_int_equal(ask(kit, &asked, BY_UDP, "x.localhost", DNS_AAAA), 1);
	assert_int_equal(asked.answer.addrs[0].family, AF_INET6);
	assert_true(IN6_IS_ADDR_LOOPBACK(&asked.answer.addrs[0].v6));
	assert_int_equal(kit->server.seen, 0);
	assert_int_equal(kit->opened[0] + kit->opened[1], 0);
	assert_int_equal(stats_of(kit).questions, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_addresses),
		TEST(test_many),
		TEST(test_times),
		TEST(test_mapped_is_dropped),
		TEST(test_negative),
		TEST(test_truncation_leads_to_tcp),
		TEST(test_tcp),
		TEST(test_tcp_hangs_up),
		TEST(test_pipelined_tcp),
		TEST(test_garbage_is_ignored),
		TEST(test_flood_leaves_turns),
		TEST(test_silence),
		TEST(test_second_try),
		TEST(test_closed_port),
		TEST(test_ipv6_server),
		TEST(test_no_socket),
		TEST(test_sockets_fail_meanwhile),
		TEST(test_never_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
