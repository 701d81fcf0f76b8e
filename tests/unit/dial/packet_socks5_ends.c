/* How ways through SOCKS5 end, or never come to be: streams that close, relays that are gone, refusals, dials that
 * are cancelled at every turn; also of a proxy behind a proxy. */
#include "packet_socks5.h"

static void test_control_ends(void **state)
{
	const struct target target = target4();

	for (int i = 0; i < 3; i++) {
		struct packet_scene p;

		begin(&p, hosts[0], &target);
		sends(&p, &nobody, "x", 1);
		HEARS(&p, HEAD4 "x");
		if (i == 0)
			assert_int_equal(sock_set_reset_on_close(p.s.proxy), 0);
		if (i < 2)
			close(TAKE_FD(p.s.proxy));
		else
			proxy_say(&p.s, "\5", 1);
		expect_end(&p, i < 2 ? -ECONNRESET : -EPROTO,
			   i < 2 ? "the proxy hung up"
				 : "socks5: the proxy speaks after its reply");
		assert_int_equal(packet_receive(way_of(&p), p.batch, &p.list),
				 i < 2 ? -ECONNRESET : -EPROTO); /* and stays so */
		assert_false(is_ready(&p));                      /* and is told once */
		end(&p);
	}
}

/* Between the reply and the way: seen by the dial, or by the way. */
static void test_control_ends_early(void **state)
{
	const struct target target = target4();

	for (int early = 0; early < 4; early++) {
		struct packet_scene p;
		struct reply reply;

		packet_scene_init(&p, hosts[0]);
		add_layer(&p.s, &socks5_handshake, NULL, NULL);
		reply = reply_of(&p.relay_addr, NULL);
		assert_int_equal(scene_start(&p.s, &target), 0);
		assert_true(play(&p.s, (struct line[]){ { SAID("\5\1\0"), SAID("\5\0") } }, 1, 0));
		assert_true(proxy_expect(&p.s, &(struct said)SAID(ASK)));
		proxy_say(&p.s, reply.data, reply.len);
		for (int i = 0; i < early; i++)
			assert_true(turn(&p.s));
		close(TAKE_FD(p.s.proxy));
		for (int i = 0; i < 10 && !p.s.done; i++)
			assert_int_equal(loop_run_once(&p.s.loop, 1), 0);
		assert_int_equal(p.s.done, 1);
		if (p.s.result.err) {
			assert_int_equal(p.s.result.err, -ECONNRESET);
			assert_string_equal(p.s.result.call, "the proxy hung up");
		} else {
			(void)way_made(&p);
			expect_end(&p, -ECONNRESET, "the proxy hung up");
		}
		end(&p);
	}
}

/* Nobody has the port of the relay any more. */
static void test_relay_gone(void **state)
{
	const struct target target = target4();
	struct packet_scene p;

	begin(&p, hosts[0], &target);
	close(p.relay);
	sends(&p, &nobody, "x", 1);
	expect_end(&p, -ECONNREFUSED, "icmp");
	p.relay = open("/dev/null", O_RDONLY | O_CLOEXEC);
	end(&p);
}

static void test_refused(void **state)
{
	static const struct {
		struct said answer;
		int err;
		const char *call;
	} samples[] = {
		{ SAID("\5\7\0\1\0\0\0\0\0\0"), -EOPNOTSUPP,
		  "socks5: UDP ASSOCIATE is not supported" },
		{ SAID("\5\2\0\1\0\0\0\0\0\0"), -EACCES,
		  "socks5: not allowed by the proxy's rules" },
		{ SAID("\5\0\0\1\12\0\0\1\0\0"), -EPROTO, "socks5: a relay for UDP that is none" },
	};
	const struct target target = target4();

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct packet_scene p;
		const struct line lines[] = { { SAID("\5\1\0"), SAID("\5\0") },
					      { SAID(ASK), samples[i].answer } };

		packet_scene_init(&p, hosts[0]);
		add_layer(&p.s, &socks5_handshake, NULL, NULL);
		assert_int_equal(scene_start(&p.s, &target), 0);
		assert_true(play(&p.s, lines, 2, 0));
		assert_int_equal(p.s.done, 1);
		assert_int_equal(p.s.result.err, samples[i].err);
		assert_string_equal(p.s.result.call, samples[i].call);
		end(&p);
	}
}

static void test_no_datagrams(void **state)
{
	static const struct {
		const struct handshake_ops *ops;
		const char *call;
	} samples[] = {
		{ &http_connect_handshake, "http carries no UDP" },
		{ &socks4_handshake, "socks4 carries no UDP" },
		{ &proxy_v1_handshake, "proxy_protocol carries no UDP" },
		{ &proxy_v2_handshake, "proxy_protocol carries no UDP" },
	};
	const struct target target = target4();

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		struct packet_scene p;

		packet_scene_init(&p, hosts[0]);
		add_layer(&p.s, samples[i].ops, NULL, NULL);
		assert_int_equal(scene_start(&p.s, &target), -EPROTONOSUPPORT);
		assert_string_equal(p.s.result.call, samples[i].call);
		end(&p);
	}
}

static void test_cancel_at_every_turn(void **state)
{
	const struct target target = target4();
	bool over = false;
	struct packet_scene p;
	struct reply reply;

	packet_scene_init(&p, hosts[0]);
	add_layer(&p.s, &socks5_handshake, NULL, NULL);
	reply = reply_of(&p.relay_addr, NULL);
	for (int turns = 0; !over; turns++) {
		p.s.turns = turns;
		over = associate(&p, &target, &reply);
		scene_over(&p.s, turns & 1);
		assert_true(turns < 1000);
	}
	assert_int_equal(p.s.done, 1);
	packet_scene_deinit(&p);
}

/* A proxy behind a proxy: its stream and its relay are reached through the first, which puts its header before
 * that of the second. */
static const struct line asks_lower[] = { { SAID("\5\1\0"), SAID("\5\0") },
					  { SAID("\5\1\0\1\12\11\11\11\4\70"),
					    SAID("\5\0\0\1\0\0\0\0\0\0") },
					  { SAID("\5\1\0"), SAID("\5\0") },
					  { SAID(ASK), SAID("\5\0\0\1\0\0\0\0\21\134") } };
#define HEAD_UPPER "\0\0\0\1\12\11\11\11\21\134" /* 10.9.9.9:4444 */

static bool through_two(struct packet_scene *p, const struct target *target, int *ret_first)
{
	const struct reply reply = reply_of(&p->relay_addr, NULL);
	const struct line lines[] = { { SAID("\5\1\0"), SAID("\5\0") },
				      { SAID(ASK), { reply.data, reply.len } } };

	assert_int_equal(scene_start(&p->s, target), 0);
	if (!play(&p->s, asks_lower, ARRAY_SIZE(asks_lower), 0))
		return false;
	*ret_first = TAKE_FD(p->s.proxy);
	return play(&p->s, lines, 2, 0);
}

static void begin_two(struct packet_scene *p)
{
	const struct target upper = { .addr = address("10.9.9.9", 1080) };

	packet_scene_init(p, hosts[0]);
	add_layer(&p->s, &socks5_handshake, NULL, NULL);
	add_layer(&p->s, &socks5_handshake, NULL, &upper);
}

static void test_two(void **state)
{
	const struct addr seven = address("fd00::7", 443);
	const struct target target = target4();

	for (int i = 0; i < 2; i++) { /* which stream ends first */
		struct packet_scene p;
		int first = -1;

		begin_two(&p);
		assert_true(through_two(&p, &target, &first));
		(void)way_made(&p);
		assert_false(way_of(&p)->bound);
		sends(&p, &nobody, "x", 1);
		HEARS(&p, HEAD_UPPER HEAD4 "x");
		SAYS(&p, HEAD4 "not of the second");
		SAYS(&p, HEAD_UPPER HEAD6 "y");
		expect_one(&p, &seven, "y", 1);
		expect_none(&p);
		if (i)
			close(first);
		else
			close(TAKE_FD(p.s.proxy));
		expect_end(&p, -ECONNRESET, "the proxy hung up");
		if (!i)
			close(first);
		end(&p);
	}
}

static void test_two_cancel(void **state)
{
	const struct target target = target4();
	bool over = false;
	struct packet_scene p;

	begin_two(&p);
	for (int turns = 0; !over; turns++) {
		int first = -1;

		p.s.turns = turns;
		over = through_two(&p, &target, &first);
		if (first >= 0)
			close(first);
		scene_over(&p.s, turns & 1);
		assert_true(turns < 1000);
	}
	packet_scene_deinit(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_control_ends), cmocka_unit_test(test_control_ends_early),
		cmocka_unit_test(test_relay_gone),   cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_datagrams), cmocka_unit_test(test_cancel_at_every_turn),
		cmocka_unit_test(test_two),          cmocka_unit_test(test_two_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
