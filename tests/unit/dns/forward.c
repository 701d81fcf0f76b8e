/* Questions of others: what the server sees of them, what they get, what is kept. */
#include "kit.h"
#include "dns/forward.h"
#include "dns/reverse.h"
#include "question.h"

enum { A = 1, TXT = 16, AAAA = 28 };

struct told {
	struct dns_forward forward;
	uint8_t bytes[DNS_MESSAGE_MAX];
	size_t size;
	int calls;
};

static bool inside; /* resolver_forward() */

static void on_told(struct dns_forward *forward, const struct dns_raw *answer)
{
	struct told *told = container_of(forward, struct told, forward);

	assert_false(inside);
	told->calls++;
	told->size = answer->size;
	memcpy(told->bytes, answer->bytes, answer->size);
}

static struct told *told_new(void)
{
	struct told *told = calloc(1, sizeof(*told));

	assert_non_null(told);
	told->forward.done = on_told;
	return told;
}

static int forward(struct kit *kit, struct told *told, size_t server, const struct asking *asking)
{
	uint8_t message[512];
	struct dns_raw now;
	int r;

	assert_int_equal(
		dns_query_read(message, write_question(message, asking), &told->forward.query), 0);
	inside = true;
	r = resolver_forward(kit->resolver, &told->forward, server, &now);
	inside = false;
	if (r == 1) {
		told->size = now.size;
		memcpy(told->bytes, now.bytes, now.size);
	}
	return r;
}

static void await(struct kit *kit, const struct told *told)
{
	uint64_t until = clock_ms() + PATIENCE_MS;

	while (!told->calls) {
		assert_true(clock_ms() < until);
		assert_int_equal(loop_run_once(&kit->loop, 100), 0);
	}
}

/* Its answer is in @told. Whether it was known. */
static bool exchange(struct kit *kit, struct told *told, size_t server, const struct asking *asking)
{
	int r;

	told->calls = 0;
	told->size = 0;
	r = forward(kit, told, server, asking);
	assert_true(r >= 0);
	if (!r)
		await(kit, told);
	return r;
}

static unsigned number(const uint8_t *at)
{
	return (unsigned)(at[0] << 8 | at[1]);
}

static unsigned rcode_of(const struct told *told)
{
	return told->bytes[3] & 15;
}

/* Id, question, and that it is an answer. */
static void assert_fits(const struct told *told, const struct asking *asking)
{
	uint8_t message[512];
	size_t size;
	struct asking bare = *asking;

	bare.edns = NO_EDNS;
	size = write_question(message, &bare);
	assert_true(told->size >= size);
	assert_memory_equal(told->bytes, message, 2);
	assert_int_equal(told->bytes[2] & 0x81, 0x80 | (asking->flags >> 8 & 1));
	assert_int_equal(number(told->bytes + 4), 1);
	assert_memory_equal(told->bytes + 12, message + 12, size - 12);
}

static void test_what_the_server_sees(void **state)
{
	static const uint8_t opt[] = { 0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0 };
	const struct asking asking = { "OK.Test", A, 0x1234, ASK_RD | ASK_CD, EDNS_DO };
	struct kit *kit = *state;
	struct told *told = told_new();
	const struct server_question *last = &kit->server.last;

	for (size_t way = BY_UDP; way <= BY_TCP; way++) {
		assert_false(exchange(kit, told, way, &asking));
		assert_fits(told, &asking);
		assert_int_equal(rcode_of(told), 0);
		assert_int_equal(last->tcp, way == BY_TCP);
		assert_int_equal(last->size, 12 + 9 + 4 + sizeof(opt));
		assert_int_equal(number(last->message + 2), ASK_RD | ASK_CD);
		assert_memory_equal(last->message + 25, opt, sizeof(opt)); /* no option */
		assert_memory_equal(told->bytes + told->size - 11, opt, 11);
	}
	assert_int_equal(kit->server.seen, 2);
	free(told);
}

static void test_ids_differ(void **state)
{
	struct kit *kit = *state;
	struct told *told = told_new();
	unsigned ids[8], same = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
		char name[32];
		const struct asking asking = { name, A, 7, ASK_RD, NO_EDNS };

		snprintf(name, sizeof(name), "ok%u.test", i);
		assert_false(exchange(kit, told, BY_UDP, &asking));
		ids[i] = number(kit->server.last.message);
		same += i && ids[i] - ids[i - 1] <= 1;
	}
	assert_true(same < 2);
	free(told);
}

static void test_cache(void **state)
{
	struct asking asking = { "ok.test", A, 1, ASK_RD, NO_EDNS };
	struct kit *kit = *state;
	struct told *told = told_new();

	assert_false(exchange(kit, told, BY_UDP, &asking));
	kit->loop.now_ms += 7500;
	asking.id = 2;
	asking.name = "oK.tEST";
	assert_true(exchange(kit, told, BY_UDP, &asking));
	assert_fits(told, &asking);
	assert_int_equal(told->size, 12 + 9 + 4 + 16);
	assert_int_equal(number(told->bytes + 25 + 8), 53); /* of 60 s */
	assert_int_equal(stats_of(kit).cache_hits, 1);
	asking.edns = EDNS;
	assert_true(exchange(kit, told, BY_UDP, &asking)); /* the same but for what it gets */
	assert_int_equal(told->size, 12 + 9 + 4 + 16 + 11);
	assert_int_equal(told->bytes[11], 1);
	asking.edns = EDNS_DO;
	assert_false(exchange(kit, told, BY_UDP, &asking));
	asking.flags |= ASK_CD;
	assert_false(exchange(kit, told, BY_UDP, &asking));
	asking.type = AAAA;
	assert_false(exchange(kit, told, BY_UDP, &asking));
	assert_false(exchange(kit, told, BY_TCP, &asking));
	assert_int_equal(kit->server.seen, 5);
	free(told);
}

/* How long, by the loop's clock, which is set forth by hand. */
static void check_life(struct kit *kit, const char *name, unsigned rcode, uint32_t life_s)
{
	const struct asking asking = { name, A, 1, ASK_RD, NO_EDNS };
	struct told *told = told_new();

	kit_again(kit);
	assert_false(exchange(kit, told, BY_UDP, &asking));
	assert_fits(told, &asking);
	if (rcode_of(told) != rcode)
		fail_msg("%s: rcode %u", name, rcode_of(told));
	kit->loop.now_ms += life_s * 1000 - 1000;
	if (life_s && !exchange(kit, told, BY_UDP, &asking))
		fail_msg("%s: forgotten before %u s", name, life_s);
	kit->loop.now_ms += 1000;
	if (exchange(kit, told, BY_UDP, &asking))
		fail_msg("%s: known after %u s", name, life_s);
	free(told);
}

static void test_life(void **state)
{
	struct kit *kit = *state;

	check_life(kit, "ok.test", 0, 60);
	check_life(kit, "cname.test", 0, 5);
	check_life(kit, "short.test", 0, 0);
	check_life(kit, "forever.test", 0, 86400);
	check_life(kit, "nx.test", 3, 60);
	check_life(kit, "nosoa.test", 3, 0);
	check_life(kit, "nodata.test", 0, 60);
	check_life(kit, "dangling.test", 0, 60);
	check_life(kit, "servfail.test", 2, 1);
	check_life(kit, "refused.test", 5, 1);
	check_life(kit, "strange.test", 6, 1);
	check_life(kit, "broken.test", 2, 1);
	kit->server.soa_ttl_s = 899;
	check_life(kit, "nx.test", 3, 300);
}

static void test_no_answer(void **state)
{
	struct asking asking = { "silent.test", A, 1, ASK_RD, EDNS };
	struct kit *kit = *state;
	struct told *told = told_new();

	assert_false(exchange(kit, told, BY_UDP, &asking));
	assert_fits(told, &asking);
	assert_int_equal(rcode_of(told), 2);
	assert_int_equal(kit->server.seen, 2);
	asking.name = "ok.test";
	kit->open_error = -EMFILE;
	assert_true(exchange(kit, told, BY_TCP, &asking)); /* at once, and once */
	assert_int_equal(rcode_of(told), 2);
	assert_fits(told, &asking);
	free(told);
}

static void test_formerr_is_passed_on(void **state)
{
	const struct asking asking = { "formerr.test", TXT, 1, ASK_RD, NO_EDNS };
	struct kit *kit = *state;
	struct told *told = told_new();

	assert_false(exchange(kit, told, BY_UDP, &asking));
	assert_fits(told, &asking);
	assert_true(kit->server.seen <= 2);
	assert_int_equal(rcode_of(told), 1);
	free(told);
}

static void test_edns_of_the_server_stays_there(void **state)
{
	struct asking asking = { "opt.test", TXT, 1, ASK_RD, NO_EDNS };
	struct kit *kit = *state;
	struct told *told = told_new();

	assert_false(exchange(kit, told, BY_UDP, &asking));
	assert_fits(told, &asking);
	assert_int_equal(told->size, 12 + 10 + 4 + 16);
	assert_int_equal(number(told->bytes + 6), 1);
	assert_int_equal(number(told->bytes + 10), 0);
	asking.edns = EDNS;
	assert_true(exchange(kit, told, BY_UDP, &asking));
	assert_int_equal(told->size, 12 + 10 + 4 + 16 + 11);
	assert_int_equal(number(told->bytes + 10), 1);
	free(told);
}

static void test_long_answers_come_whole(void **state)
{
	const struct asking asking = { "huge.test", TXT, 1, ASK_RD, NO_EDNS };
	struct kit *kit = *state;
	struct told *told = told_new();

	assert_false(exchange(kit, told, BY_UDP, &asking));
	assert_int_equal(kit->server.seen_tcp, 1);
	assert_int_equal(told->size, 12 + 11 + 4 + 9 * 212);
	assert_int_equal(number(told->bytes + 6), 9);
	assert_int_equal(told->bytes[2] & 2, 0);
	free(told);
}

static void test_equal_questions_are_one(void **state)
{
	const struct asking a = { "ok.test", A, 1, ASK_RD, NO_EDNS },
			    b = { "OK.TEST", A, 2, ASK_RD, EDNS };
	struct kit *kit = *state;
	struct told *one = told_new(), *two = told_new(), *three = told_new();

	assert_int_equal(forward(kit, one, BY_UDP, &a), 0);
	assert_int_equal(forward(kit, two, BY_UDP, &b), 0);
	assert_int_equal(forward(kit, three, BY_UDP, &a), 0);
	resolver_forward_cancel(&three->forward);
	resolver_forward_cancel(&three->forward);
	await(kit, one);
	await(kit, two);
	turn(kit, 20);
	assert_int_equal(kit->server.seen, 1);
	assert_int_equal(stats_of(kit).coalesced, 2);
	assert_fits(one, &a);
	assert_fits(two, &b);
	assert_int_equal(two->size, one->size + 11);
	assert_int_equal(one->calls + two->calls, 2);
	assert_int_equal(three->calls, 0);
	free(one);
	free(two);
	free(three);
}

static void test_bound(void **state)
{
	struct kit *kit = *state;
	struct dns_forward *many = calloc(DNS_FORWARDS_MAX + 1, sizeof(*many));
	const struct asking asking = { "silent.test", A, 1, ASK_RD, NO_EDNS };
	uint8_t message[512];
	struct dns_raw now;

	assert_non_null(many);
	for (unsigned i = 0; i <= DNS_FORWARDS_MAX; i++) {
		many[i].done = on_told;
		(void)dns_query_read(message, write_question(message, &asking), &many[i].query);
		assert_int_equal(resolver_forward(kit->resolver, &many[i], BY_UDP, &now),
				 i < DNS_FORWARDS_MAX ? 0 : -EAGAIN);
	}
	resolver_forward_cancel(&many[5]);
	assert_int_equal(resolver_forward(kit->resolver, &many[DNS_FORWARDS_MAX], BY_UDP, &now), 0);
	for (unsigned i = 0; i <= DNS_FORWARDS_MAX; i++)
		resolver_forward_cancel(&many[i]);
	free(many);
}

static void test_strategy(void **state)
{
	static const struct {
		enum domain_strategy strategy;
		unsigned type, seen;
	} rows[] = { { STRATEGY_IPV4_ONLY, AAAA, 0 },
		     { STRATEGY_IPV4_ONLY, A, 1 },
		     { STRATEGY_IPV6_ONLY, A, 0 },
		     { STRATEGY_IPV6_ONLY, AAAA, 1 },
		     { STRATEGY_PREFER_IPV4, AAAA, 1 } };
	struct kit *kit = *state;
	struct told *told = told_new();

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct asking asking = { "ok.test", rows[i].type, 1, ASK_RD, NO_EDNS };

		kit->config.strategy = rows[i].strategy;
		kit_again(kit);
		kit->server.seen = 0;
		assert_int_equal(exchange(kit, told, BY_UDP, &asking), !rows[i].seen);
		assert_int_equal(kit->server.seen, rows[i].seen);
		assert_fits(told, &asking);
		assert_int_equal(rcode_of(told), 0);
		assert_int_equal(number(told->bytes + 6), rows[i].seen);
	}
	free(told);
}

static void test_refused_without_asking(void **state)
{
	const struct asking asking = { "ok.test", 252, 1, ASK_RD, NO_EDNS };
	struct kit *kit = *state;
	struct told *told = told_new();

	assert_true(exchange(kit, told, BY_UDP, &asking));
	assert_int_equal(rcode_of(told), 5);
	assert_fits(told, &asking);
	assert_int_equal(kit->server.seen, 0);
	free(told);
}

static void test_names_are_learned(void **state)
{
	const struct asking asking = { "OK1.Test", A, 1, ASK_RD, NO_EDNS };
	const struct addr v4 = { .family = AF_INET, .port = 443, .v4.s_addr = htonl(0xc0000201) };
	struct addr v6 = { .family = AF_INET6 };
	struct kit *kit = *state;
	struct told *told = told_new();
	struct dns_reverse *reverse;
	char name[DNS_REVERSE_NAME];

	assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &v6.v6), 1);
	assert_false(resolver_name_of(kit->resolver, &v4, name));
	assert_int_equal(dns_reverse_new(&reverse), 0);
	resolver_set_reverse(kit->resolver, reverse);
	assert_false(exchange(kit, told, BY_UDP, &asking));
	assert_true(resolver_name_of(kit->resolver, &v4, name));
	assert_string_equal(name, "ok1.test");
	assert_int_equal(answer_to(kit, BY_UDP, "ok2.test", DNS_A).status, DNS_OK);
	assert_true(resolver_name_of(kit->resolver, &v4, name));
	assert_string_equal(name, "ok2.test");
	assert_true(exchange(kit, told, BY_UDP, &asking)); /* who asks now means this name */
	assert_true(resolver_name_of(kit->resolver, &v4, name));
	assert_string_equal(name, "ok1.test");
	assert_false(resolver_name_of(kit->resolver, &v6, name));
	assert_int_equal(answer_to(kit, BY_UDP, "ok2.test", DNS_AAAA).status, DNS_OK);
	assert_true(resolver_name_of(kit->resolver, &v6, name));
	assert_string_equal(name, "ok2.test");
	resolver_set_reverse(kit->resolver, NULL);
	dns_reverse_free(reverse);
	free(told);
}

static void test_freed_with_questions_under_way(void **state)
{
	const struct asking asking = { "silent.test", A, 1, ASK_RD, NO_EDNS };
	struct kit *kit = *state;
	struct told *told = told_new();

	assert_int_equal(forward(kit, told, BY_UDP, &asking), 0);
	resolver_forward_cancel(&told->forward);
	kit_again(kit);
	turn(kit, 20);
	assert_int_equal(told->calls, 0);
	free(told);
}

#define TEST(func) cmocka_unit_test_setup_teardown(func, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_the_server_sees),
		TEST(test_ids_differ),
		TEST(test_cache),
		TEST(test_life),
		TEST(test_no_answer),
		TEST(test_formerr_is_passed_on),
		TEST(test_edns_of_the_server_stays_there),
		TEST(test_long_answers_come_whole),
		TEST(test_equal_questions_are_one),
		TEST(test_bound),
		TEST(test_strategy),
		TEST(test_refused_without_asking),
		TEST(test_names_are_learned),
		TEST(test_freed_with_questions_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
