/* Relays that are handed to tc, over loopback: when they are armed, what was written by then, what happens when
 * it comes to nothing. The kernel's side is played (packet_kernel.h). */
#include "packet_kernel.h"

#define WHY(name) (1U << SEAM_WHY_##name)

static void describe(const struct relay *relay, struct seam_label *ret)
{
	*ret = (struct seam_label){ .id = 4711 };
}

struct fixture {
	struct pair_rig rig;
	struct pair pair;
	struct route_socket routes;
};

static unsigned told_missed, told_untaken;

static void tell(const struct relay *relay)
{
	assert_true(relay->missed || relay->untaken);
	if (relay->untaken)
		told_untaken++;
	else
		told_missed++;
}

static void setup_with(struct fixture *f, uint64_t stall_after, int buffer)
{
	const char *step = "";

	kernel = (struct kernel){ .added = 0 };
	assert_int_equal(pair_rig_init(&f->rig, RELAY_PACKET, NULL, LIMIT_MS, &step), 0);
	assert_int_equal(route_socket_init(&f->routes), 0);
	f->rig.env.enter_after = 1;
	f->rig.env.packet = (struct packet_env){ .packet = a_packet,
						 .routes = &f->routes,
						 .stall_after = stall_after,
						 .describe = describe,
						 .tell = tell };
	told_missed = told_untaken = 0;
	pair_init(&f->pair, &f->rig);
	assert_good(&f->rig, pair_open(&f->pair, buffer));
	pair_start(&f->pair);
}

static void setup(struct fixture *f, uint64_t stall_after)
{
	setup_with(f, stall_after, 0);
}

static void teardown(struct fixture *f)
{
	pair_close(&f->pair);
	assert_int_equal(kernel.removed, kernel.added);
	assert_good(&f->rig, pair_rig_check(&f->rig));
	route_socket_deinit(&f->routes);
	pair_rig_deinit(&f->rig);
}

static void turns_for(struct fixture *f, uint64_t ms)
{
	uint64_t until = clock_ms() + ms;

	while (clock_ms() < until && f->pair.started)
		assert_good(&f->rig, pair_turn(&f->pair));
}

/* Until it is armed for the @count-th time. */
static void turns_until_armed(struct fixture *f, unsigned count)
{
	while (kernel.armed < count)
		assert_good(&f->rig, pair_turn(&f->pair));
}

static void taken_when_quiet(void **state)
{
	struct fixture f;

	setup(&f, 0);
	assert_int_equal(kernel.added, 0); /* no read yet */
	assert_good(&f.rig, pair_send_both(&f.pair, 1000));
	turns_until_armed(&f, 1);
	relay_packet_follow(&f.pair.relay);
	assert_int_equal(kernel.ways, 1U << CLIENT | 1U << UPSTREAM);
	assert_int_equal(kernel.owed[CLIENT] + kernel.owed[UPSTREAM], 0);
	assert_int_equal(kernel.unread[CLIENT] + kernel.unread[UPSTREAM], 0);
	turns_for(&f, 30);
	assert_true(f.pair.started); /* armed, and nothing comes */
	assert_string_equal(relay_method_name(&f.pair.relay), "copy");
	kernel.shared.state = SEAM_PACKET_TAKEN;
	turns_for(&f, 1500);
	assert_false(f.pair.started);
	assert_int_equal(f.pair.result, RELAY_TAKEN);
	assert_int_equal(f.rig.env.packet.taken, 1);
	teardown(&f);
}

/* An exchange of messages is not worth it; what moves a few of them is. */
static void entered_by_bytes(void **state)
{
	struct fixture f;

	setup(&f, 0);
	f.rig.env.enter_after = 1000;
	assert_good(&f.rig, pair_send_both(&f.pair, 1000));
	turns_for(&f, 30);
	assert_int_equal(kernel.added, 0);
	assert_good(&f.rig, pair_send(&f.pair, UPSTREAM, 20000));
	turns_until_armed(&f, 1);
	assert_int_equal(kernel.added, 1);
	teardown(&f);
}

/* Packets come by though no byte moves: acknowledgements, keep-alive. */
static void not_while_packets_come(void **state)
{
	struct fixture f;

	setup(&f, 0);
	assert_good(&f.rig, pair_send_both(&f.pair, 1000));
	for (uint64_t until = clock_ms() + 300; clock_ms() < until;) {
		kernel.shared.seen++;
		assert_good(&f.rig, pair_turn(&f.pair));
	}
	assert_int_equal(kernel.armed, 0);
	teardown(&f);
}

/* What the sockets bring while it is armed disarms it before a byte is written. */
static void bytes_disarm(void **state)
{
	struct fixture f;

	setup(&f, 0);
	assert_good(&f.rig, pair_send_both(&f.pair, 1000));
	turns_until_armed(&f, 1);
	assert_int_equal(kernel.disarmed, 0);
	assert_good(&f.rig, pair_send(&f.pair, CLIENT, 5000));
	assert_int_not_equal(kernel.disarmed, 0);
	turns_until_armed(&f, 2);
	assert_good(&f.rig, pair_finish(&f.pair));
	teardown(&f);
}

/* A flow that is silent since it was added is waited for; one that talks unseen is not. */
static void unseen(void **state)
{
	struct fixture f;

	setup(&f, 0);
	assert_good(&f.rig, pair_send(&f.pair, CLIENT, 1000));
	kernel.shared.from = 1;
	turns_for(&f, 300);
	assert_int_equal(f.pair.relay.untaken, UNTAKEN_NOT);
	assert_false(timer_running(&f.pair.relay.taker->timer));
	assert_good(&f.rig, pair_send(&f.pair, CLIENT, 1000));
	turns_for(&f, 300);
	assert_int_equal(f.pair.relay.untaken, UNTAKEN_UNSEEN);
	assert_good(&f.rig, pair_finish(&f.pair));
	teardown(&f);
}

static void missed_again_and_again(void **state)
{
	struct fixture f;

	setup(&f, 0);
	kernel.miss = WHY(MOVED) | WHY(UNACKED);
	assert_good(&f.rig, pair_send_both(&f.pair, 1000));
	turns_until_armed(&f, 6);
	for (int i = 2; i < 5; i++) /* 20, 40, 80 ms, and what the looks take */
		assert_true(kernel.armed_ms[i] - kernel.armed_ms[i - 1] >= 5U << i);
	assert_int_equal(f.pair.relay.untaken, UNTAKEN_NOT);
	assert_int_equal(f.pair.relay.missed, kernel.miss);
	assert_in_range(f.rig.env.packet.missed, 5, 6);
	for (unsigned i = 0; i < RELAY_MISSED_COUNT; i++)
		assert_int_equal(f.rig.env.packet.missed_why[i],
				 kernel.miss >> i & 1 ? f.rig.env.packet.missed : 0);
	assert_int_equal(told_missed, f.rig.env.packet.missed);
	assert_good(&f.rig, pair_send_both(&f.pair, 100000));
	assert_good(&f.rig, pair_finish(&f.pair));
	teardown(&f);
}

static void refused_for_good(void **state)
{
	static const struct {
		uint32_t why;
		enum relay_untaken untaken;
	} cases[] = {
		{ WHY(MSS) | WHY(UNACKED), UNTAKEN_MSS },
		{ WHY(TIMESTAMP), UNTAKEN_TIMESTAMP },
		{ WHY(SACK), UNTAKEN_SACK },
		{ WHY(ECN), UNTAKEN_ECN },
		{ WHY(OPTION), UNTAKEN_OPTION },
		{ WHY(LAYER), UNTAKEN_LAYER },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fixture f;

		setup(&f, 0);
		kernel.miss = cases[i].why;
		assert_good(&f.rig, pair_send_both(&f.pair, 1000));
		turns_until_armed(&f, 1);
		turns_for(&f, 50);
		assert_int_equal(kernel.armed, 1);
		assert_int_equal(kernel.removed, 1);
		assert_int_equal(f.pair.relay.untaken, cases[i].untaken);
		assert_int_equal(f.rig.env.packet.untaken[cases[i].untaken], 1);
		assert_int_equal(f.pair.relay.missed, cases[i].why);
		assert_int_equal(told_untaken, 1);
		assert_good(&f.rig, pair_send_both(&f.pair, 100000));
		assert_good(&f.rig, pair_finish(&f.pair));
		teardown(&f);
	}
}

static void not_added(void **state)
{
	static const struct {
		int err;
		enum relay_untaken untaken;
	} cases[] = {
		{ -ENOSPC, UNTAKEN_PAIRS },        { -EEXIST, UNTAKEN_TUPLE },
		{ -EAFNOSUPPORT, UNTAKEN_FAMILY }, { -EOPNOTSUPP, UNTAKEN_INTERFACE },
		{ -EPERM, UNTAKEN_SOCKETS },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fixture f;

		setup(&f, 0);
		kernel.add_result = cases[i].err;
		assert_good(&f.rig, pair_send_both(&f.pair, 1000));
		assert_int_equal(f.pair.relay.untaken, cases[i].untaken);
		assert_int_equal(f.rig.env.packet.untaken[cases[i].untaken], 1);
		assert_int_equal(told_untaken, 1);
		assert_null(f.pair.relay.taker);
		assert_good(&f.rig, pair_finish(&f.pair));
		teardown(&f);
	}
}

/* A message is owed, then written, and no byte more. */
static void taken_by_a_held_message(void **state)
{
	struct fixture f;

	setup(&f, 0);
	while (!kernel.armed || !(kernel.owed[CLIENT] + kernel.owed[UPSTREAM])) {
		kernel.miss = WHY(MOVED);
		assert_good(&f.rig, pair_send(&f.pair, CLIENT, 700));
		assert_good(&f.rig, pair_send(&f.pair, UPSTREAM, 700));
	}
	assert_int_equal(kernel.owed[CLIENT] + kernel.owed[UPSTREAM], 700);
	for (int side = 0; side < SIDES; side++)
		assert_int_equal(kernel.unread[side], kernel.owed[side]);
	assert_good(&f.rig, pair_finish(&f.pair));
	teardown(&f);
}

/* Whatever the other way does. */
static void deliver(struct fixture *f, int side, uint32_t bytes)
{
	struct pair_way *way = &f->pair.way[side];

	way->total += bytes;
	while (way->received < way->total)
		assert_good(&f->rig, pair_turn(&f->pair));
}

/* A message could not wait, since the other side has bytes under way; then its sender ends: none is lost. */
static void a_message_that_may_not_wait(void **state)
{
	struct fixture f;
	struct taker *t;

	setup_with(&f, 0, 8192);
	assert_good(&f.rig, pair_send_both(&f.pair, 1000));
	f.pair.way[CLIENT].stalled = true;
	while (!unacked(f.pair.side[UPSTREAM].fd)) {
		f.pair.way[CLIENT].total += 8000;
		turns_for(&f, 100); /* more than an acknowledgement is delayed */
	}
	t = f.pair.relay.taker;
	assert_non_null(t);
	assert_int_equal(t->phase, TAKER_WATCH);
	timer_stop(&t->timer, &f.rig.loop.timers);
	t->due = false;
	t->pause_ms = 10000;
	t->may_hold = true;
	deliver(&f, UPSTREAM, 700);
	assert_false(t->may_hold); /* it was tried */
	f.pair.way[UPSTREAM].fin = f.pair.way[UPSTREAM].fin_joined = true;
	deliver(&f, UPSTREAM, 700);
	f.pair.way[CLIENT].stalled = false;
	assert_good(&f.rig, pair_finish(&f.pair));
	teardown(&f);
}

/* Packets are removed by hand: copy goes on with it, whatever it was about to do. */
static void left(void **state)
{
	struct fixture f;

	for (int armed = 0; armed < 2; armed++) {
		setup(&f, 0);
		kernel.shared.from = 3;
		assert_good(&f.rig, pair_send_both(&f.pair, 1000));
		if (armed)
			turns_until_armed(&f, 1);
		assert_non_null(f.pair.relay.taker);
		assert_false(relay_packet_leave(&f.pair.relay));
		assert_null(f.pair.relay.taker);
		assert_int_equal(kernel.removed, 1);
		assert_int_equal(f.pair.relay.untaken, UNTAKEN_REMOVED);
		assert_good(&f.rig, pair_send_both(&f.pair, 100000));
		assert_good(&f.rig, pair_finish(&f.pair));
		teardown(&f);
	}
	setup(&f, 0);
	assert_good(&f.rig, pair_send_both(&f.pair, 1000));
	turns_until_armed(&f, 1);
	kernel.shared.state = SEAM_PACKET_TAKEN;
	assert_true(relay_packet_leave(&f.pair.relay));
	teardown(&f);
}

/* Each reason has a name of its own, which logs, lists and counters can use. */
static void check_names(const char *const *names, size_t first, size_t count)
{
	for (size_t i = first; i < count; i++) {
		assert_true(names[i][0]);
		assert_int_equal(strspn(names[i], "abcdefghijklmnopqrstuvwxyz-"), strlen(names[i]));
		for (size_t j = first; j < i; j++)
			assert_string_not_equal(names[i], names[j]);
	}
}

static void names(void **state)
{
	char text[RELAY_MISSED_STRLEN];
	size_t bytes = 0;

	check_names(relay_untaken_names, UNTAKEN_NOT + 1, UNTAKEN_COUNT);
	check_names(relay_missed_names, 0, RELAY_MISSED_COUNT);
	for (unsigned i = 0; i < RELAY_MISSED_COUNT; i++) {
		assert_string_equal(relay_missed_format(1U << i, text), relay_missed_names[i]);
		bytes += strlen(relay_missed_names[i]) + 2;
	}
	assert_int_equal(strlen(relay_missed_format((1U << RELAY_MISSED_COUNT) - 1, text)),
			 bytes - 2);
	assert_string_equal(relay_missed_format(0, text), "");
	assert_string_equal(relay_missed_format(WHY(MOVED) | WHY(OWED), text), "moved, owed");
}

static void stalls(bool both)
{
	struct fixture f;
	uint64_t sent;

	setup(&f, 300000);
	kernel.miss = WHY(MOVED);
	f.pair.way[CLIENT].total = 64 << 20;
	f.pair.way[UPSTREAM].total = both ? 64 << 20 : 0;
	turns_until_armed(&f, 2);
	kernel.takes = true;
	while (f.pair.started)
		assert_good(&f.rig, pair_turn(&f.pair));
	assert_int_equal(f.pair.result, RELAY_TAKEN);
	sent = f.pair.way[CLIENT].sent;
	assert_in_range(sent, 300000, 64 << 20);
	assert_in_range(kernel.unread[CLIENT], 0, 512 << 10);
	teardown(&f);
}

static void taken_by_a_stall(void **state)
{
	stalls(false);
	stalls(true);
}

static void an_end_ends_the_attempts(void **state)
{
	for (int side = 0; side < SIDES; side++) {
		struct fixture f;

		setup(&f, 0);
		assert_good(&f.rig, pair_send_both(&f.pair, 1000));
		turns_until_armed(&f, 1);
		f.pair.way[side].fin = true;
		assert_good(&f.rig, pair_send(&f.pair, side, 3000));
		assert_int_equal(kernel.removed, 1);
		assert_null(f.pair.relay.taker);
		assert_int_equal(f.pair.relay.untaken, UNTAKEN_NOT);
		assert_good(&f.rig, pair_send(&f.pair, !side, 100000));
		assert_int_equal(kernel.armed, 1);
		assert_good(&f.rig, pair_finish(&f.pair));
		teardown(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken_when_quiet),
		cmocka_unit_test(entered_by_bytes),
		cmocka_unit_test(not_while_packets_come),
		cmocka_unit_test(bytes_disarm),
		cmocka_unit_test(unseen),
		cmocka_unit_test(missed_again_and_again),
		cmocka_unit_test(refused_for_good),
		cmocka_unit_test(not_added),
		cmocka_unit_test(taken_by_a_held_message),
		cmocka_unit_test(taken_by_a_stall),
		cmocka_unit_test(an_end_ends_the_attempts),
		cmocka_unit_test(a_message_that_may_not_wait),
		cmocka_unit_test(left),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
