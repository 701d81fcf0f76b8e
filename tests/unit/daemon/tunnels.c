/* Endpoints of WireGuard peers by name: which types are asked for and when, what is done with answers. The
 * interface and the resolver are the test's own, so is the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>
#include "base/log.h"
#include "base/names.h"
#include "daemon/tunnels.h"
#include "dns/resolver.h"
#include "kern/wireguard.h"

/* What the fakes saw, and what they are to do. */
static struct {
	unsigned made, removed, asks, cancelled, sets;
	int fail_at, set_error; /* the interface that cannot be made; of wireguard_set_endpoint() */
	int process[2];         /* a pipe for a pidfd: readable when it is written to */
	bool ended;
	uint32_t mark;
	struct addr endpoint;
	size_t peer, server;
	char name[64];
	enum dns_type type;
	struct dns_ask *ask; /* under way */
	int ask_result;      /* of resolver_ask(); 1: @answer */
	struct dns_answer answer;
} fake;

struct wireguard {
	int dummy;
};
static struct wireguard interfaces[8];

int wireguard_new(struct wireguard **ret, const struct config_wireguard *config, uint32_t mark,
		  char *reason)
{
	if (fake.made == (unsigned)fake.fail_at) {
		snprintf(reason, WIREGUARD_REASON_MAX, "no luck");
		return -EBUSY;
	}
	fake.mark = mark;
	fake.ended = false;
	*ret = &interfaces[fake.made++];
	return 0;
}

int wireguard_set_endpoint(struct wireguard *w, size_t peer, const struct addr *endpoint,
			   char *reason)
{
	fake.sets++;
	if (fake.set_error) {
		snprintf(reason, WIREGUARD_REASON_MAX, "refused");
		return fake.set_error;
	}
	fake.peer = peer;
	fake.endpoint = *endpoint;
	return 0;
}

void wireguard_free(struct wireguard *w)
{
	fake.removed += w != NULL;
}

const char *wireguard_backend(const struct wireguard *w)
{
	return "fake";
}

bool wireguard_is_up(const struct wireguard *w)
{
	return true;
}

int wireguard_pidfd(const struct wireguard *w)
{
	return fake.process[0];
}

bool wireguard_has_ended(struct wireguard *w, char *reason)
{
	snprintf(reason, WIREGUARD_REASON_MAX, "killed");
	return fake.ended;
}

int resolver_ask(struct resolver *resolver, struct dns_ask *ask, size_t server, const char *name,
		 enum dns_type type, struct dns_answer *ret_now)
{
	assert_null(fake.ask);
	fake.asks++;
	fake.server = server;
	fake.type = type;
	snprintf(fake.name, sizeof(fake.name), "%s", name);
	if (fake.ask_result == 1)
		*ret_now = fake.answer;
	else if (!fake.ask_result)
		fake.ask = ask;
	return fake.ask_result;
}

void resolver_cancel(struct dns_ask *ask)
{
	if (fake.ask == ask)
		fake.ask = NULL;
	fake.cancelled++;
}

static struct loop loop;
static struct config_peer peers[2];
static struct config_outbound outbounds[3];
static struct config config;
static struct tunnels *tunnels;

static int setup(void **state)
{
	memset(&fake, 0, sizeof(fake));
	memset(peers, 0, sizeof(peers));
	memset(outbounds, 0, sizeof(outbounds));
	fake.fail_at = fake.process[0] = fake.process[1] = -1;
	assert_int_equal(loop_init(&loop), 0);
	peers[0] = (struct config_peer){ .address = "peer.example", .port = 51820 };
	outbounds[0] = (struct config_outbound){ .type = OUTBOUND_DIRECT, .tag = "direct" };
	outbounds[1] = (struct config_outbound){
		.type = OUTBOUND_WIREGUARD,
		.tag = "tunnel",
		.routing_mark = 1514,
		.domain_resolver = { .server = 3, .strategy = STRATEGY_PREFER_IPV4 },
		.wireguard = { .name = "wg0", .create = true, .peers = peers, .peer_count = 1 }
	};
	config = (struct config){ .outbounds = outbounds, .outbound_count = 2 };
	tunnels = NULL;
	return 0;
}

static int teardown(void **state)
{
	tunnels_free(tunnels);
	assert_true(timer_wheel_empty(&loop.timers));
	assert_null(fake.ask);
	assert_int_equal(loop.io_count, 0);
	loop_deinit(&loop);
	for (size_t i = 0; i < 2; i++)
		if (fake.process[i] >= 0)
			close(fake.process[i]);
	return 0;
}

static void make(void)
{
	char reason[WIREGUARD_REASON_MAX] = "";

	assert_int_equal(tunnels_new(&tunnels, &loop, &config, NULL, reason), 0);
}

static void give(struct dns_answer *answer, uint32_t ttl_s, const char *first, const char *second)
{
	*answer = (struct dns_answer){ .status = DNS_OK, .ttl_s = ttl_s, .count = 1 };
	assert_int_equal(addr_parse(first, 0, &answer->addrs[0]), 0);
	if (second)
		assert_int_equal(addr_parse(second, 0, &answer->addrs[answer->count++]), 0);
}

static void finish(const struct dns_answer *answer)
{
	struct dns_ask *ask = fake.ask;

	assert_non_null(ask);
	fake.ask = NULL;
	ask->done(ask, answer);
}

static void succeed(uint32_t ttl_s, const char *first, const char *second)
{
	struct dns_answer answer;

	give(&answer, ttl_s, first, second);
	finish(&answer);
}

static void fail_with(enum dns_status status)
{
	const struct dns_answer answer = { .status = status };

	finish(&answer);
}

static void assert_endpoint(const char *text)
{
	char buf[ADDR_STRLEN];

	assert_string_equal(addr_format(&fake.endpoint, buf), text);
}

/* Nothing is asked for @ms - 1, something is then. */
static void assert_asks_after(uint64_t ms)
{
	unsigned asks = fake.asks;
	uint64_t now = loop.timers.now_ms;

	assert_null(fake.ask);
	timer_wheel_advance(&loop.timers, now + ms - 1);
	assert_int_equal(fake.asks, asks);
	timer_wheel_advance(&loop.timers, now + ms + 1); /* a part of a millisecond counts as one */
	assert_int_equal(fake.asks, asks + 1);
}

static void test_address(void **state)
{
	peers[0].address = "192.0.2.1";
	make();
	assert_int_equal(fake.made, 1);
	assert_int_equal(fake.mark, 1514);
	assert_int_equal(fake.asks, 0);
	assert_int_equal(fake.sets, 0); /* wireguard_new() does it */
	tunnels_free(tunnels);
	tunnels = NULL;
	assert_int_equal(fake.removed, 1);
}

static void test_no_endpoint_and_not_ours(void **state)
{
	peers[0].address = NULL;
	outbounds[2] = outbounds[1];
	outbounds[2].wireguard.create = false;
	config.outbound_count = 3;
	make();
	assert_int_equal(fake.made, 1);
	assert_int_equal(fake.sets, 0);
	assert_int_equal(fake.asks, 0);
}

static void test_name(void **state)
{
	peers[1] = peers[0];
	peers[0].address = NULL;
	outbounds[1].wireguard.peer_count = 2;
	make();
	assert_string_equal(fake.name, "peer.example");
	assert_int_equal(fake.server, 3);
	assert_int_equal(fake.type, DNS_A);
	assert_int_equal(fake.sets, 0);
	succeed(300, "192.0.2.1", NULL);
	assert_endpoint("192.0.2.1:51820");
	assert_int_equal(fake.peer, 1);

	assert_asks_after(300000);
	succeed(5, "192.0.2.1", NULL); /* nothing new, and a TTL that is too short */
	assert_int_equal(fake.sets, 1);
	assert_asks_after(60000);
	succeed(4000000000U, "192.0.2.2", "192.0.2.3");
	assert_endpoint("192.0.2.2:51820");
	assert_asks_after(86400000);
	succeed(60, "192.0.2.3", "192.0.2.2"); /* only in another order */
	assert_int_equal(fake.sets, 2);
}

static void test_retries(void **state)
{
	static const uint32_t waits_s[] = { 1, 2, 4, 8, 16, 32, 60, 60 };

	outbounds[1].domain_resolver.strategy = STRATEGY_IPV4_ONLY;
	make();
	for (size_t i = 0; i < ARRAY_SIZE(waits_s); i++) {
		fail_with(DNS_TIMEOUT);
		assert_asks_after((uint64_t)waits_s[i] * 1000);
	}
	succeed(100, "192.0.2.1", NULL);
	assert_asks_after(100000);
	fail_with(DNS_SERVFAIL); /* from the beginning, and the endpoint stays */
	assert_asks_after(1000);
	fail_with(DNS_SERVFAIL);
	assert_asks_after(2000);
	assert_int_equal(fake.sets, 1);
}

static void test_strategies(void **state)
{
	static const struct {
		enum domain_strategy strategy;
		unsigned count;
		enum dns_type types[2];
	} cases[] = { { STRATEGY_PREFER_IPV4, 2, { DNS_A, DNS_AAAA } },
		      { STRATEGY_PREFER_IPV6, 2, { DNS_AAAA, DNS_A } },
		      { STRATEGY_IPV4_ONLY, 1, { DNS_A } },
		      { STRATEGY_IPV6_ONLY, 1, { DNS_AAAA } } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		outbounds[1].domain_resolver.strategy = (int)cases[i].strategy;
		make();
		for (unsigned j = 0; j < cases[i].count; j++) {
			assert_int_equal(fake.type, cases[i].types[j]);
			fail_with(DNS_NO_DATA);
		}
		assert_null(fake.ask);
		assert_asks_after(1000);
		assert_int_equal(fake.type, cases[i].types[0]);
		if (cases[i].count == 2)
			fail_with(DNS_NO_DATA);
		succeed(60, "2001:db8::1", NULL);
		assert_endpoint("[2001:db8::1]:51820");
		tunnels_free(tunnels);
		tunnels = NULL;
		teardown(state);
		setup(state);
	}
}

static void test_answers_at_once(void **state)
{
	fake.ask_result = 1;
	fake.answer.status = DNS_NO_NAME;
	make();
	assert_int_equal(fake.asks, 2);
	give(&fake.answer, 90, "192.0.2.1", NULL);
	assert_asks_after(1000);
	assert_endpoint("192.0.2.1:51820");
	fake.ask_result = -ENETUNREACH;
	timer_wheel_advance(&loop.timers, loop.timers.now_ms + 90001);
	assert_int_equal(fake.asks, 5); /* both types */
	fake.ask_result = 0;
	assert_asks_after(1000);
}

static void test_interface_refuses(void **state)
{
	make();
	fake.set_error = -ESRCH;
	succeed(600, "192.0.2.1", NULL);
	assert_asks_after(1000);
	fake.set_error = 0;
	succeed(600, "192.0.2.1", NULL);
	assert_int_equal(fake.sets, 2);
	assert_endpoint("192.0.2.1:51820");
}

static void test_failure_leaves_nothing(void **state)
{
	char reason[WIREGUARD_REASON_MAX] = "";

	outbounds[2] = outbounds[1];
	outbounds[2].tag = "second";
	config.outbound_count = 3;
	fake.fail_at = 1;
	assert_int_equal(tunnels_new(&tunnels, &loop, &config, NULL, reason), -EBUSY);
	assert_string_equal(reason, "outbound second: no luck");
	assert_null(tunnels);
	assert_int_equal(fake.removed, 1);
	assert_int_equal(fake.asks, 0);
}

/* Processes ------------------------------------------------------------------------------------------ */

/* The process of the interface ends, the loop hears of it. */
static void die(void)
{
	unsigned removed = fake.removed;
	char byte;

	assert_int_equal(write(fake.process[1], "x", 1), 1);
	assert_int_equal(loop_run_once(&loop, 0), 0);
	assert_int_equal(fake.removed, removed); /* not over yet */
	assert_int_equal(loop.io_count, 1);
	fake.ended = true;
	assert_int_equal(write(fake.process[1], "x", 1), 1);
	assert_int_equal(loop_run_once(&loop, 0), 0);
	assert_int_equal(fake.removed, removed + 1);
	assert_int_equal(loop.io_count, 0);
	assert_int_equal(read(fake.process[0], &byte, 1), 1);
	assert_int_equal(read(fake.process[0], &byte, 1), 1);
}

static void make_with_process(void)
{
	assert_int_equal(pipe(fake.process), 0);
	make();
	assert_int_equal(loop.io_count, 1);
}

/* Nothing is made for @ms - 1, something is then. */
static void assert_made_after(uint64_t ms)
{
	unsigned made = fake.made;
	uint64_t now = loop.timers.now_ms;

	timer_wheel_advance(&loop.timers, now + ms - 1);
	assert_int_equal(fake.made, made);
	timer_wheel_advance(&loop.timers, now + ms + 1);
	assert_int_equal(fake.made, made + 1);
}

static void advance(uint64_t ms)
{
	timer_wheel_advance(&loop.timers, loop.timers.now_ms + ms);
}

static void test_made_again(void **state)
{
	static const uint32_t waits_s[] = { 1, 2, 4, 8 };

	peers[0].address = "192.0.2.1";
	make_with_process();
	for (size_t i = 0; i < ARRAY_SIZE(waits_s); i++) { /* which dies as soon as it is made */
		die();
		assert_made_after((uint64_t)waits_s[i] * 1000);
		assert_int_equal(loop.io_count, 1);
	}
	advance(60000);
	die();
	assert_made_after(1000);
	advance(59000);
	die();
	assert_made_after(2000);
	assert_int_equal(fake.sets, 0);
	assert_int_equal(fake.asks, 0);
}

static void test_cannot_be_made_again(void **state)
{
	static const uint32_t waits_s[] = { 1, 2, 4, 8, 16, 32, 60, 60 };

	make_with_process();
	succeed(1, "192.0.2.1", NULL); /* asked for again after 60 s */
	fake.fail_at = 1;
	die();
	for (size_t i = 0; i < ARRAY_SIZE(waits_s); i++) {
		uint64_t due = loop.timers.now_ms + (uint64_t)waits_s[i] * 1000;

		if (i == ARRAY_SIZE(waits_s) - 1)
			fake.fail_at = -1;
		timer_wheel_advance(&loop.timers, due - 1);
		assert_int_equal(fake.made, 1);
		timer_wheel_advance(&loop.timers, due + 1);
		if (fake.ask) { /* where the peer is now; there is nothing to tell it */
			succeed(1, "192.0.2.2", NULL);
			assert_int_equal(fake.sets, 1);
		}
	}
	assert_int_equal(fake.made, 2);
	assert_int_equal(fake.sets, 2);
	assert_endpoint("192.0.2.2:51820");
}

static void test_endpoints_are_restored(void **state)
{
	make_with_process();
	succeed(3600, "192.0.2.1", NULL);
	memset(&fake.endpoint, 0, sizeof(fake.endpoint));
	die();
	fake.set_error = 0;
	assert_made_after(1000);
	assert_int_equal(fake.sets, 2);
	assert_endpoint("192.0.2.1:51820"); /* before DNS has answered */
	advance(1);
	assert_int_equal(fake.asks, 2);
	succeed(3600, "192.0.2.1", NULL);
	assert_int_equal(fake.sets, 2);
	assert_asks_after(3600000);

	die(); /* while it is asked for */
	fake.set_error = -EADDRINUSE;
	assert_made_after(1000);
	assert_int_equal(fake.cancelled, 2);
	fake.ask = NULL;
	advance(1);
	fake.set_error = 0;
	succeed(3600, "192.0.2.1", NULL); /* it was refused: not the same as before */
	assert_int_equal(fake.sets, 4);
	assert_endpoint("192.0.2.1:51820");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_address),
		TEST(test_no_endpoint_and_not_ours),
		TEST(test_name),
		TEST(test_retries),
		TEST(test_strategies),
		TEST(test_answers_at_once),
		TEST(test_interface_refuses),
		TEST(test_failure_leaves_nothing),
		TEST(test_made_again),
		TEST(test_cannot_be_made_again),
		TEST(test_endpoints_are_restored),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
