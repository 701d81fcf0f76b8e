/* What deferred handshakes leave owed, alone and inside each other; who has to say something above them pays
 * it. And fast open: the first words leave with the SYN. */
#include <netinet/tcp.h>
#include "dial/owed.h"
#include "scene.h"

#define UUID    "0123456789abcdef"
#define TO_NAME "\0" UUID "\0\1\1\273\2\6a.test"
#define TO_PEER "\0" UUID "\0\1\4\70\1\12\11\11\11" /* 10.9.9.9:1080 */
#define PROXY_1 "PROXY TCP4 10.0.0.1 10.1.2.3 40000 443\r\n"
#define ASK5    "\5\1\0\3\6a.test\1\273"
#define REPLY5  "\5\0\0\1\0\0\0\0\0\0"

static const struct target name = { .domain = "a.test", .addr.port = 443 };
static const struct handshake_config config = { .uuid = (const uint8_t *)UUID };

static struct target peer(void)
{
	return (struct target){ .addr = address("10.9.9.9", 1080) };
}

/* A scene with these layers, the lowest first. */
static void build(struct scene *s, const struct handshake_ops *const *ops)
{
	struct target upper = peer();

	scene_init(s);
	for (; *ops; ops++) /* a PROXY header is of the connection: it names no proxy */
		add_layer(s, *ops, &config,
			  s->layer_count && ((*ops)->answer || !(*ops)->deferred) ? &upper : NULL);
}

static void expect_header(const struct scene *s, const struct said *header)
{
	const struct dial_owed *owed = s->result.owed;

	assert_int_equal(s->done, 1);
	assert_int_equal(s->result.err, 0);
	if (!owed) {
		fail();
		return;
	}
	assert_int_equal(owed->header_len, header->len);
	assert_memory_equal(owed->header, header->text, header->len);
}

/* @len bytes of the answer come at once, then each for itself: how many are taken, -1: not all of it came,
 * -2: it is not an answer. */
static int hear(const struct dial_owed *owed, const uint8_t *text, size_t len, size_t first)
{
	size_t taken = 0, come = first < len ? first : len;

	for (;;) {
		uint8_t *window = malloc(come - taken + 1);
		struct handshake_step step = { .in = window, .in_len = come - taken };
		enum handshake_result result;

		assert_non_null(window);
		memcpy(window, text + taken, come - taken);
		result = owed->ops->answer(owed->state, &step);
		free(window);
		assert_int_equal(step.out_len, 0);
		assert_true(step.eaten <= step.in_len);
		taken += step.eaten;
		if (result == HANDSHAKE_DONE)
			return (int)taken;
		if (result != HANDSHAKE_MORE)
			return -2;
		if (!step.eaten && come == len)
			return -1;
		come += !step.eaten;
	}
}

static const struct sample {
	const struct handshake_ops *ops[LAYERS + 1];
	struct said header, answer; /* of it, without what follows; len 0: there is none */
} samples[] = {
	{ { &vless_handshake }, SAID(TO_NAME), SAID("\0\3abc") },
	{ { &proxy_v1_handshake }, SAID(PROXY_1), SAID("") },
	{ { &proxy_v1_handshake, &vless_handshake }, SAID(PROXY_1 TO_NAME), SAID("\0\0") },
	{ { &vless_handshake, &proxy_v1_handshake }, SAID(TO_NAME PROXY_1), SAID("\0\0") },
	{ { &proxy_v1_handshake, &proxy_v1_handshake }, SAID(PROXY_1 PROXY_1), SAID("") },
	{ { &vless_handshake, &vless_handshake }, SAID(TO_PEER TO_NAME), SAID("\0\2xy\0\1z") },
	{ { &vless_handshake, &proxy_v1_handshake, &vless_handshake },
	  SAID(TO_PEER PROXY_1 TO_NAME),
	  SAID("\0\2xy\0\1z") },
	{ { &vless_handshake, &vless_handshake, &vless_handshake },
	  SAID(TO_PEER TO_PEER TO_NAME),
	  SAID("\0\2xy\0\0\0\1z") },
};

static void test_owed(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *sample = &samples[i];
		static const struct said rest = SAID("");
		struct scene s;
		char answer[32] = "";

		build(&s, sample->ops);
		memcpy(answer, sample->answer.text, sample->answer.len);
		memset(answer + sample->answer.len, 1, 3); /* of the server */
		for (size_t first = 0; first <= sample->answer.len + 3; first++) {
			assert_int_equal(scene_start(&s, &name), 0);
			assert_true(proxy_accept(&s) && settle(&s));
			expect_header(&s, &sample->header);
			assert_int_equal(!s.result.owed->ops, !sample->answer.len);
			assert_false(readable(s.proxy)); /* not a byte was sent */
			if (sample->answer.len)
				assert_int_equal(hear(s.result.owed, (uint8_t *)answer,
						      sample->answer.len + 3, first),
						 sample->answer.len);
			expect_rest(&s, &rest);
			scene_over(&s, false);
		}
		scene_deinit(&s);
	}
}

/* Freed wherever the answer is, also when it never comes or is none. */
static void test_owed_cut(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *sample = &samples[i];
		struct scene s;

		build(&s, sample->ops);
		for (size_t len = 0; len < sample->answer.len; len++) {
			assert_int_equal(scene_start(&s, &name), 0);
			assert_true(proxy_accept(&s) && settle(&s));
			assert_int_equal(hear(s.result.owed, sample->answer.text, len, 0), -1);
			assert_int_equal(hear(s.result.owed, (const uint8_t *)"\1", 1, 1), -2);
			scene_over(&s, false);
		}
		scene_deinit(&s);
	}
}

static void test_over_a_proxy(void **state)
{
	static const struct handshake_ops *const ops[] = { &socks5_handshake, &vless_handshake,
							   NULL };
	static const struct line lines[] = {
		{ SAID("\5\1\0"), SAID("\5\0") },
		{ SAID("\5\1\0\1\12\11\11\11\4\70"), SAID(REPLY5) },
	};
	static const struct said rest = SAID(""), header = SAID(TO_NAME);
	struct scene s;

	build(&s, ops);
	for (size_t cut = 0; cut <= answers_length(lines, 2); cut++) {
		assert_int_equal(scene_start(&s, &name), 0);
		assert_true(play(&s, lines, 2, cut));
		expect_header(&s, &header);
		assert_false(readable(s.proxy));
		expect_rest(&s, &rest);
		scene_over(&s, false);
	}
	scene_deinit(&s);
}

/* Proxies above tunnels: header and greeting in one write, answers in one. */
static const struct payer {
	const struct handshake_ops *ops[4];
	struct line lines[2];
} payers[] = {
	{ { &vless_handshake, &socks5_handshake },
	  { { SAID(TO_PEER "\5\1\0"), SAID("\0\3abc\5\0") },
	    { SAID(ASK5), SAID(REPLY5 "220 ready") } } },
	{ { &proxy_v1_handshake, &socks5_handshake },
	  { { SAID(PROXY_1 "\5\1\0"), SAID("\5\0") }, { SAID(ASK5), SAID(REPLY5 "220 ready") } } },
	{ { &vless_handshake, &vless_handshake, &socks5_handshake },
	  { { SAID(TO_PEER TO_PEER "\5\1\0"), SAID("\0\0\0\1z\5\0") },
	    { SAID(ASK5), SAID(REPLY5 "220 ready") } } },
};

static void test_paid(void **state)
{
	static const struct said rest = SAID("220 ready");

	for (size_t i = 0; i < ARRAY_SIZE(payers); i++) {
		size_t len = answers_length(payers[i].lines, 2) - rest.len;
		struct scene s;
		uint8_t buf[1];

		build(&s, payers[i].ops);
		s.turns = -1;
		for (size_t cut = 0; cut <= len + 1; cut++) {
			assert_int_equal(scene_start(&s, &name), 0);
			assert_true(proxy_accept(&s) && settle(&s));
			assert_int_equal(recv(s.proxy, buf, 1, MSG_PEEK), 1);
			assert_true(play(&s, payers[i].lines, 2, cut > len ? SIZE_MAX : cut));
			assert_null(s.result.owed);
			expect_rest(&s, &rest);
			scene_over(&s, false);
		}
		scene_deinit(&s);
	}
}

static void test_paid_cancel(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(payers); i++) {
		bool over = false;
		struct scene s;

		build(&s, payers[i].ops);
		for (int turns = 0; !over; turns++) {
			s.turns = turns;
			assert_int_equal(scene_start(&s, &name), 0);
			over = play(&s, payers[i].lines, 2, SIZE_MAX);
			scene_over(&s, turns & 1);
		}
		scene_deinit(&s);
	}
}

static void test_not_an_answer(void **state)
{
	struct scene s;

	build(&s, payers[0].ops);
	assert_int_equal(scene_start(&s, &name), 0);
	assert_true(proxy_accept(&s));
	proxy_say(&s, "\5\0", 2);
	assert_true(settle(&s));
	assert_int_equal(s.result.err, -EPROTO);
	assert_string_equal(s.result.call, "the proxy does not speak VLESS 0");
	scene_over(&s, false);
	scene_deinit(&s);
}

/* Headers that are too long together. */
static void test_too_much(void **state)
{
	char text[256];
	struct target long_name = { .domain = text, .addr.port = 443 };
	struct scene s;

	memset(text, 'x', 255);
	text[255] = '\0';
	scene_init(&s);
	for (int i = 0; i < 4; i++)
		add_layer(&s, &vless_handshake, &config, i ? &long_name : NULL);
	assert_int_equal(scene_start(&s, &long_name), 0);
	assert_true(proxy_accept(&s) && settle(&s));
	assert_int_equal(s.done, 1);
	assert_int_equal(s.result.err, -ENAMETOOLONG);
	assert_string_equal(s.result.call, "vless");
	scene_over(&s, false);
	s.layer_count = 3;
	assert_int_equal(scene_start(&s, &long_name), 0);
	assert_true(proxy_accept(&s) && settle(&s));
	assert_int_equal(s.result.err, 0);
	assert_int_equal(s.result.owed->header_len, 3 * (22 + 1 + 255));
	scene_over(&s, false);
	scene_deinit(&s);
}

static bool syn_had_data(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info.tcpi_options & 32; /* TCPI_OPT_SYN_DATA */
}

static void with_fast_open(struct scene *s, const struct handshake_ops *const *ops)
{
	static const int backlog = 8;

	if (system("sysctl -qw net.ipv4.tcp_fastopen=3 "
		   "net.ipv4.tcp_fastopen_blackhole_timeout_sec=0"))
		skip();
	build(s, ops);
	s->direct.options.tcp_fast_open = true;
	assert_int_equal(
		setsockopt(s->listener, IPPROTO_TCP, TCP_FASTOPEN, &backlog, sizeof(backlog)), 0);
}

static void test_fast_open(void **state)
{
	static const struct said rest = SAID("220 ready");
	bool had_data = false;

	for (size_t i = 0; i < ARRAY_SIZE(payers); i++) {
		struct scene s;

		with_fast_open(&s, payers[i].ops);
		for (int round = 0; round < 3; round++) {
			assert_int_equal(scene_start(&s, &name), 0);
			assert_true(play(&s, payers[i].lines, 2, SIZE_MAX));
			had_data = syn_had_data(s.proxy);
			assert_false(s.result.owes_write);
			expect_rest(&s, &rest);
			scene_over(&s, false);
		}
		assert_true(had_data); /* the first has asked for the cookie */
		scene_deinit(&s);
	}
}

/* Gone between connect() and the first write, which then only sends the SYN. */
static void test_fast_open_no_cookie(void **state)
{
	static const struct said rest = SAID("220 ready");
	struct scene s;

	with_fast_open(&s, payers[1].ops);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(scene_start(&s, &name), 0);
		if (round != 1)
			assert_int_equal(system("ip tcp_metrics flush all"), 0);
		assert_true(play(&s, payers[1].lines, 2, SIZE_MAX));
		assert_int_equal(syn_had_data(s.proxy), round == 1);
		expect_rest(&s, &rest);
		scene_over(&s, false);
	}
	scene_deinit(&s);
}

/* Who only leaves something owed has written nothing: the SYN has not left either. */
static void test_fast_open_owed(void **state)
{
	struct scene s;

	with_fast_open(&s, samples[0].ops);
	assert_int_equal(scene_start(&s, &name), 0);
	assert_true(settle(&s));
	expect_header(&s, &samples[0].header);
	assert_true(s.result.owes_write);
	assert_false(readable(s.listener));
	scene_over(&s, false);
	scene_deinit(&s);
}

/* connect() said yes, and nobody listens. */
static void test_fast_open_refused(void **state)
{
	struct scene s;

	with_fast_open(&s, payers[1].ops);
	s.layers[0].proxy = (struct target){ .addr = address("127.0.0.1", 1) };
	assert_int_equal(scene_start(&s, &name), 0);
	assert_true(settle(&s));
	assert_int_equal(s.done, 1);
	assert_int_equal(s.result.err, -ECONNREFUSED);
	assert_string_equal(s.result.call, "socks5");
	scene_over(&s, false);
	scene_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owed),
		cmocka_unit_test(test_owed_cut),
		cmocka_unit_test(test_over_a_proxy),
		cmocka_unit_test(test_paid),
		cmocka_unit_test(test_paid_cancel),
		cmocka_unit_test(test_not_an_answer),
		cmocka_unit_test(test_too_much),
		cmocka_unit_test(test_fast_open),
		cmocka_unit_test(test_fast_open_no_cookie),
		cmocka_unit_test(test_fast_open_owed),
		cmocka_unit_test(test_fast_open_refused),
	};

	return enter_new_namespace() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIP;
}
