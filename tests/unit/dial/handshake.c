/* Handshakes over real sockets: answers cut anywhere, chains, ends and cancels at every turn of the loop;
 * not a byte too many is read, and nothing is left open. */
#include "scene.h"

#define REPLY5  "\5\0\0\1\0\0\0\0\0\0"
#define OK      "HTTP/1.1 200 x\r\nA: b\r\n\r\n"
#define TO_PEER "\5\1\0\1\12\11\11\11\4\70" /* 10.9.9.9:1080 */
#define TO_NAME "\5\1\0\3\6a.test\1\273"
#define BANNER  "220 ready\r\n"

static const struct target name = { .domain = "a.test", .addr.port = 443 };
static const struct handshake_config password = { .username = "me", .password = "pw" };

static struct target peer(void)
{
	return (struct target){ .addr = address("10.9.9.9", 1080) };
}

/* Chains and their conversations, of which the last answer has the banner. */

struct chain {
	const struct handshake_ops *ops[2]; /* the lowest first */
	const struct handshake_config *config;
	unsigned count;
	struct line lines[5];
};

static const struct chain chains[] = {
	{ { &socks5_handshake },
	  NULL,
	  2,
	  { { SAID("\5\1\0"), SAID("\5\0") }, { SAID(TO_NAME), SAID(REPLY5 BANNER) } } },
	{ { &socks5_handshake },
	  &password,
	  3,
	  { { SAID("\5\2\0\2"), SAID("\5\2") },
	    { SAID("\1\2me\2pw"), SAID("\1\0") },
	    { SAID(TO_NAME), SAID(REPLY5 BANNER) } } },
	{ { &socks4_handshake },
	  NULL,
	  1,
	  { { SAID("\4\1\1\273\0\0\0\1\0a.test\0"), SAID("\0\132\0\0\0\0\0\0" BANNER) } } },
	{ { &http_connect_handshake },
	  NULL,
	  1,
	  { { SAID("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
	      SAID("HTTP/1.1 100 x\r\n\r\n" OK BANNER) } } },
	{ { &socks5_handshake, &socks5_handshake },
	  NULL,
	  4,
	  { { SAID("\5\1\0"), SAID("\5\0") },
	    { SAID(TO_PEER), SAID(REPLY5) },
	    { SAID("\5\1\0"), SAID("\5\0") },
	    { SAID(TO_NAME), SAID(REPLY5 BANNER) } } },
	{ { &http_connect_handshake, &socks5_handshake },
	  NULL,
	  3,
	  { { SAID("CONNECT 10.9.9.9:1080 HTTP/1.1\r\nHost: 10.9.9.9:1080\r\n\r\n"), SAID(OK) },
	    { SAID("\5\1\0"), SAID("\5\0") },
	    { SAID(TO_NAME), SAID(REPLY5 BANNER) } } },
};

static void build(struct scene *s, const struct chain *chain)
{
	struct target upper = peer();

	scene_init(s);
	add_layer(s, chain->ops[0], chain->config, NULL);
	if (chain->ops[1])
		add_layer(s, chain->ops[1], NULL, &upper);
}

static void test_every_split(void **state)
{
	static const struct said banner = SAID(BANNER);

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		const struct chain *chain = &chains[i];
		size_t len = answers_length(chain->lines, chain->count) - banner.len;
		struct scene s;

		build(&s, chain);
		for (size_t cut = 0; cut <= len + 1; cut++) {
			assert_int_equal(scene_start(&s, &name), 0);
			assert_true(
				play(&s, chain->lines, chain->count, cut > len ? SIZE_MAX : cut));
			assert_null(s.result.owed);
			assert_int_equal(s.trace.count, 1);
			expect_rest(&s, &banner);
			scene_over(&s, cut & 1);
		}
		scene_deinit(&s);
	}
}

static void test_cancel_at_every_turn(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		const struct chain *chain = &chains[i];
		bool over = false;
		struct scene s;

		build(&s, chain);
		for (int turns = 0; !over; turns++) {
			s.turns = turns;
			assert_int_equal(scene_start(&s, &name), 0);
			over = play(&s, chain->lines, chain->count, SIZE_MAX);
			scene_over(&s, turns & 1);
			assert_true(turns < 1000);
		}
		scene_deinit(&s);
	}
}

/* However much has come by then: FIN, or RST, is the end, and told as such. */
static void hang_up(const struct chain *chain, size_t after, bool reset)
{
	struct line lines[ARRAY_SIZE(chain->lines)];
	struct scene s;
	unsigned count = 0;

	for (size_t left = after; count < chain->count; left -= lines[count++].answer.len) {
		lines[count] = chain->lines[count];
		if (lines[count].answer.len > left) {
			lines[count++].answer.len = left;
			break;
		}
	}
	build(&s, chain);
	assert_int_equal(scene_start(&s, &name), 0);
	assert_true(play(&s, lines, count, 0));
	assert_int_equal(s.done, 0);
	if (reset)
		assert_int_equal(sock_set_reset_on_close(s.proxy), 0);
	close(TAKE_FD(s.proxy));
	settle(&s);
	assert_int_equal(s.done, 1);
	assert_int_equal(s.result.err, -ECONNRESET);
	assert_string_equal(s.result.call,
			    reset ? s.layers[s.layer_count - 1].ops->name : "the proxy hung up");
	scene_over(&s, false);
	scene_deinit(&s);
}

static void test_hang_up(void **state)
{
	for (size_t i = 0; i < 4; i++) { /* chains of one */
		size_t len = answers_length(chains[i].lines, chains[i].count) - strlen(BANNER);

		for (size_t after = 0; after < len; after++) {
			hang_up(&chains[i], after, false);
			hang_up(&chains[i], after, true);
		}
	}
}

/* The answer and the end at once: what was said counts. */
static void test_last_words(void **state)
{
	static const struct {
		const struct handshake_ops *ops;
		struct said first, answer;
		int err;
		const char *call;
	} samples[] = {
		{ &http_connect_handshake, SAID(""), SAID("HTTP/1.1 403 no\r\n"), -EACCES,
		  "HTTP proxy: 403, forbidden" },
		{ &http_connect_handshake, SAID(""), SAID(OK), 0, NULL },
		{ &http_connect_handshake, SAID(""), SAID("SSH-2.0"), -EPROTO,
		  "the proxy does not speak HTTP/1" },
		{ &socks5_handshake, SAID("\5\0"), SAID("\5\5\0\1\0\0\0\0\0\0"), -ECONNREFUSED,
		  "socks5: connection refused" },
		{ &socks5_handshake, SAID(""), SAID("\5\377"), -EACCES,
		  "socks5: the proxy wants a user name and password" },
		{ &socks4_handshake, SAID(""), SAID("\0\133\0\0\0\0\0\0"), -EREMOTEIO,
		  "socks4: rejected or failed" },
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(samples); i++) {
		size_t n = i / 2;
		struct scene s;

		scene_init(&s);
		add_layer(&s, samples[n].ops, NULL, NULL);
		assert_int_equal(scene_start(&s, &name), 0);
		assert_true(proxy_accept(&s) && settle(&s));
		proxy_say(&s, samples[n].first.text, samples[n].first.len);
		assert_true(settle(&s));
		proxy_say(&s, samples[n].answer.text, samples[n].answer.len);
		/* What was not read makes it an RST. */
		if (i & 1) {
			char rest[1024];

			while (recv(s.proxy, rest, sizeof(rest), 0) > 0)
				;
		}
		close(TAKE_FD(s.proxy));
		assert_true(settle(&s));
		assert_int_equal(s.done, 1);
		assert_int_equal(s.result.err, samples[n].err);
		if (samples[n].call)
			assert_string_equal(s.result.call, samples[n].call);
		scene_over(&s, false);
		scene_deinit(&s);
	}
}

/* 8 KiB are enough for every answer. */
static void test_flood(void **state)
{
	static char flood[HANDSHAKE_IN_MAX] = OK;
	struct scene s;

	memset(flood + strlen(OK) - 2, 'x', sizeof(flood) - strlen(OK) + 2);
	scene_init(&s);
	add_layer(&s, &http_connect_handshake, NULL, NULL);
	assert_int_equal(scene_start(&s, &name), 0);
	assert_true(proxy_accept(&s) && settle(&s));
	proxy_say(&s, flood, sizeof(flood) - 1);
	assert_true(settle(&s));
	assert_int_equal(s.done, 0);
	proxy_say(&s, "x", 1);
	assert_true(settle(&s));
	assert_int_equal(s.done, 1);
	assert_int_equal(s.result.err, -EPROTO);
	assert_string_equal(s.result.call, "HTTP proxy: endless headers");
	scene_over(&s, false);
	scene_deinit(&s);
}

static int insatiable_init(void *state, const struct handshake_target *target,
			   const struct handshake_config *handshake_config)
{
	return 0;
}

static enum handshake_result insatiable_step(void *state, struct handshake_step *step)
{
	return HANDSHAKE_MORE;
}

/* Also with a codec that has no limit of its own. */
static void test_insatiable(void **state)
{
	static const struct handshake_ops ops = { .name = "insatiable",
						  .state_size = 1,
						  .init = insatiable_init,
						  .step = insatiable_step };
	static char flood[HANDSHAKE_IN_MAX];
	struct scene s;

	scene_init(&s);
	add_layer(&s, &ops, NULL, NULL);
	assert_int_equal(scene_start(&s, &name), 0);
	assert_true(proxy_accept(&s) && settle(&s));
	proxy_say(&s, flood, sizeof(flood) - 1);
	assert_true(settle(&s));
	assert_int_equal(s.done, 0);
	proxy_say(&s, flood, 1);
	assert_true(settle(&s));
	assert_int_equal(s.done, 1);
	assert_int_equal(s.result.err, -EPROTO);
	assert_string_equal(s.result.call, "the proxy says too much");
	scene_over(&s, false);
	scene_deinit(&s);
}

/* A proxy that is not there, and targets that cannot be told. */
static void test_no_start(void **state)
{
	struct target v6 = { .addr = address("fd00::1", 443) };
	struct scene s;

	scene_init(&s);
	add_layer(&s, &socks4_handshake, NULL, NULL);
	assert_int_equal(scene_start(&s, &v6), -EAFNOSUPPORT);
	assert_string_equal(s.result.call, "socks4");
	scene_over(&s, false);
	s.layers[0].ops = &socks5_handshake;
	s.layers[0].proxy.addr.port = 1; /* nobody listens */
	if (!scene_start(&s, &name)) {
		for (int i = 0; i < 100 && !s.done; i++)
			assert_int_equal(loop_run_once(&s.loop, 10), 0);
		assert_int_equal(s.done, 1);
	}
	assert_int_equal(s.result.err, -ECONNREFUSED);
	assert_string_equal(s.result.call, "connect");
	scene_over(&s, false);
	scene_deinit(&s);
}

/* The proxy speaks before it is spoken to: it is no SOCKS proxy, or one that hurries. */
static void test_hasty_proxy(void **state)
{
	static const struct said rest = SAID("");
	struct scene s;

	scene_init(&s);
	add_layer(&s, &socks5_handshake, NULL, NULL);
	assert_int_equal(scene_start(&s, &name), 0);
	for (int i = 0; i < 100 && s.proxy < 0; i++) /* without a turn of the loop */
		s.proxy = accept4(s.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(s.proxy >= 0);
	proxy_say(&s, "\5\0" REPLY5, 12);
	assert_true(settle(&s));
	assert_true(proxy_expect(&s, &(struct said)SAID("\5\1\0" TO_NAME)));
	expect_rest(&s, &rest);
	scene_over(&s, false);
	scene_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split), cmocka_unit_test(test_cancel_at_every_turn),
		cmocka_unit_test(test_hang_up),     cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_flood),       cmocka_unit_test(test_no_start),
		cmocka_unit_test(test_hasty_proxy), cmocka_unit_test(test_insatiable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
