/* Relays in user space, by copy and by splice, over loopback: bytes, ends, and what they hold. */
#include "common.h"
#include <signal.h>
#include <sys/socket.h>
#include "base/names.h"

#define MIB         (1U << 20)
#define TINY_BUFFER 4096

struct fixture {
	struct pair_rig rig;
	struct pair pair;
	unsigned fds, pipes; /* open before */
};

static void setup(struct fixture *f, enum relay_method method)
{
	const char *step = "";
	int r;

	f->fds = open_fds("");
	f->pipes = open_fds("pipe:");
	r = pair_rig_init(&f->rig, method, NULL, LIMIT_MS, &step);
	if (r)
		fail_msg("%s: %s", step, strerror(-r));
	pair_init(&f->pair, &f->rig);
}

/* Nothing is left. */
static void teardown(struct fixture *f)
{
	pair_close(&f->pair);
	assert_good(&f->rig, pair_rig_check(&f->rig));
	assert_int_equal(open_fds("pipe:"), f->pipes + 2 * f->rig.env.pipes.free_count);
	pair_rig_deinit(&f->rig);
	assert_int_equal(open_fds(""), f->fds);
}

static void finishes(struct fixture *f)
{
	assert_good(&f->rig, pair_finish(&f->pair));
	assert_int_equal(pair_kernel_bytes(&f->pair, CLIENT), 0);
}

static void each_way(enum relay_method method, int buffer, uint32_t chunk)
{
	struct fixture f;

	setup(&f, method);
	assert_good(&f.rig, pair_open(&f.pair, buffer));
	pair_start(&f.pair);
	f.pair.way[CLIENT].chunk = f.pair.way[UPSTREAM].chunk = chunk;
	assert_good(&f.rig, pair_send(&f.pair, CLIENT, MIB));
	assert_good(&f.rig, pair_send(&f.pair, UPSTREAM, MIB));
	assert_good(&f.rig, pair_send_both(&f.pair, MIB));
	for (int side = 0; side < SIDES; side++) { /* an idle pair holds nothing */
		assert_null(f.pair.relay.pump[side].held);
		assert_null(f.pair.relay.pump[side].pipe);
	}
	assert_int_equal(f.rig.env.memory.used, 0);
	assert_string_equal(relay_method_name(&f.pair.relay), relay_method_names[method]);
	finishes(&f);
	teardown(&f);
}

static void test_bytes(void **state)
{
	enum relay_method method = *(enum relay_method *)*state;

	each_way(method, 0, 0);
	each_way(method, 0, 1009);
	each_way(method, TINY_BUFFER, 0);
	each_way(method, TINY_BUFFER, 1009);
}

static void test_queued_before_the_start(void **state)
{
	struct fixture f;

	setup(&f, *(enum relay_method *)*state);
	assert_good(&f.rig, pair_open(&f.pair, 0));
	for (int side = 0; side < SIDES; side++) {
		f.pair.way[side].total = 20000;
		f.pair.way[side].fin = true;
	}
	while (f.pair.way[CLIENT].sent < 20000 || f.pair.way[UPSTREAM].sent < 20000)
		assert_good(&f.rig, pair_turn(&f.pair));
	pair_start(&f.pair);
	finishes(&f);
	teardown(&f);
}

static void half_close(enum relay_method method, int side, int buffer)
{
	struct fixture f;

	setup(&f, method);
	assert_good(&f.rig, pair_open(&f.pair, buffer));
	pair_start(&f.pair);
	assert_good(&f.rig, pair_send_both(&f.pair, 1000));
	f.pair.way[side].fin = true;
	assert_good(&f.rig, pair_send(&f.pair, side, MIB / 4)); /* and the FIN, behind all of it */
	assert_true(f.pair.way[side].fin_received);
	assert_false(f.pair.way[!side].fin_received);
	assert_good(&f.rig, pair_send(&f.pair, !side, MIB / 4));
	assert_true(f.pair.started);
	finishes(&f);
	teardown(&f);
}

static void test_half_close(void **state)
{
	enum relay_method method = *(enum relay_method *)*state;

	for (int side = 0; side < SIDES; side++) {
		half_close(method, side, 0);
		half_close(method, side, TINY_BUFFER);
	}
}

/* Neither direction has a byte. */
static void test_empty_flow(void **state)
{
	for (int side = 0; side < SIDES; side++) {
		struct fixture f;

		setup(&f, *(enum relay_method *)*state);
		assert_good(&f.rig, pair_begin(&f.pair));
		f.pair.way[side].fin = true;
		assert_good(&f.rig, pair_exchange(&f.pair));
		finishes(&f);
		assert_int_equal(f.pair.relayed[CLIENT] + f.pair.relayed[UPSTREAM], 0);
		teardown(&f);
	}
}

static void reset_by(enum relay_method method, int side, bool half_closed)
{
	struct fixture f;
	const struct pair_way *way = &f.pair.way[side];

	setup(&f, method);
	assert_good(&f.rig, pair_begin(&f.pair));
	assert_good(&f.rig, pair_send_both(&f.pair, 1000));
	f.pair.way[!side].fin = half_closed;
	assert_good(&f.rig, pair_exchange(&f.pair));
	pair_end_close(&f.pair, side, true);
	while (f.pair.started || !way->receive_error)
		assert_good(&f.rig, pair_turn(&f.pair)); /* a FIN fails there */
	assert_int_equal(way->receive_error, -ECONNRESET);
	assert_int_equal(f.pair.result, -ECONNRESET);
	assert_int_equal(f.pair.relay.failed, side);
	teardown(&f);
}

static void test_reset(void **state)
{
	for (int side = 0; side < SIDES; side++) {
		reset_by(*(enum relay_method *)*state, side, false);
		reset_by(*(enum relay_method *)*state, side, true);
	}
}

/* What the relay of a pair holds in user space and in pipes. */
static uint64_t held_bytes(const struct pair *pair, uint64_t *ret_budget)
{
	uint64_t bytes = 0;

	*ret_budget = 0;
	for (int side = 0; side < SIDES; side++) {
		const struct pump *p = &pair->relay.pump[side];

		if (p->held) {
			bytes += p->held_bytes;
			*ret_budget += p->held_size;
		}
		bytes += p->piped;
		assert_int_equal(p->piped != 0, p->pipe != NULL);
	}
	return bytes;
}

static void block_both(struct fixture *f)
{
	assert_good(&f->rig, pair_open(&f->pair, TINY_BUFFER));
	pair_start(&f->pair);
	for (int side = 0; side < SIDES; side++) {
		f->pair.way[side].total = 4ULL * MIB;
		f->pair.way[side].stalled = true;
	}
	assert_good(&f->rig, pair_block(&f->pair, CLIENT, 20));
	assert_good(&f->rig, pair_block(&f->pair, UPSTREAM, 20));
}

static void test_stalled_readers(void **state)
{
	enum relay_method method = *(enum relay_method *)*state;
	uint64_t budget, most;
	struct fixture f;

	setup(&f, method);
	block_both(&f);
	most = f.pair.way[CLIENT].sent;
	assert_true(held_bytes(&f.pair, &budget) > 0);
	assert_int_equal(f.rig.env.memory.used, budget);
	assert_int_equal(budget > 0, method == RELAY_COPY);
	assert_true(most < MIB); /* the sender stood still too */
	for (int side = 0; side < SIDES; side++) {
		f.pair.way[side].stalled = false;
		f.pair.way[side].total = f.pair.way[side].sent + 100000;
	}
	assert_good(&f.rig, pair_exchange(&f.pair));
	assert_int_equal(held_bytes(&f.pair, &budget), 0);
	assert_int_equal(f.rig.env.memory.used, 0);
	finishes(&f);
	teardown(&f);
}

/* Closed with hands full: teardown() counts. */
static void test_closed_while_it_holds(void **state)
{
	uint64_t budget;
	struct fixture f;

	setup(&f, *(enum relay_method *)*state);
	block_both(&f);
	assert_true(held_bytes(&f.pair, &budget) > 0);
	teardown(&f);
}

/* The relay does not read from a socket whose bytes it still holds: only its error tells. */
static void test_reset_by_a_blocked_sender(void **state)
{
	for (int side = 0; side < SIDES; side++) {
		struct fixture f;

		setup(&f, *(enum relay_method *)*state);
		assert_good(&f.rig, pair_open(&f.pair, TINY_BUFFER));
		pair_start(&f.pair);
		f.pair.way[side].total = MIB;
		f.pair.way[side].stalled = true;
		assert_good(&f.rig, pair_block(&f.pair, side, 10));
		pair_end_close(&f.pair, side, true);
		while (f.pair.started)
			assert_good(&f.rig, pair_turn(&f.pair));
		assert_int_equal(f.pair.result, -ECONNRESET);
		assert_int_equal(f.pair.relay.failed, side);
		f.pair.way[side].stalled = false;
		while (!f.pair.way[side].receive_error)
			assert_good(&f.rig, pair_turn(&f.pair));
		teardown(&f);
	}
}

#define CROWD 12

/* Beyond the memory limit a relay goes on with small reads. */
static void test_scarce_memory(void **state)
{
	static const int large = 1 << 20; /* so that much is there to be read */
	const uint64_t limit = 20000, small = 4096;
	struct pair pairs[CROWD];
	struct fixture f;

	setup(&f, *(enum relay_method *)*state);
	f.rig.env.memory.limit = limit;
	for (int i = 0; i < CROWD; i++) {
		pair_init(&pairs[i], &f.rig);
		assert_good(&f.rig, pair_open(&pairs[i], TINY_BUFFER));
		assert_int_equal(setsockopt(pairs[i].side[CLIENT].fd, SOL_SOCKET, SO_RCVBUF, &large,
					    sizeof(large)),
				 0);
		pair_start(&pairs[i]);
		pairs[i].way[CLIENT].total = MIB / 4;
		pairs[i].way[CLIENT].stalled = true;
	}
	for (int turn = 0; turn < 4; turn++)
		for (int i = 0; i < CROWD; i++)
			assert_good(&f.rig, pair_turn(&pairs[i]));
	if (f.rig.env.memory.used > limit + CROWD * small)
		fail_msg("%llu bytes are held", (unsigned long long)f.rig.env.memory.used);
	for (int i = 0; i < CROWD; i++) {
		pairs[i].way[CLIENT].stalled = false;
		assert_good(&f.rig, pair_finish(&pairs[i]));
		pair_close(&pairs[i]);
	}
	teardown(&f);
}

static void test_close_races(void **state)
{
	struct fixture f;

	setup(&f, *(enum relay_method *)*state);
	srand(3);
	for (int i = 0; i < 200; i++) {
		struct pair *pair = &f.pair;
		int first = rand() % SIDES;

		pair_init(pair, &f.rig);
		assert_good(&f.rig, pair_begin(pair));
		for (int side = 0; side < SIDES; side++)
			pair->way[side].total = (uint64_t)(rand() % 200000);
		for (int turns = rand() % 4; turns; turns--)
			assert_good(&f.rig, pair_turn(pair));
		pair_end_close(pair, first, rand() % 2);
		for (int turns = rand() % 3; turns; turns--)
			assert_good(&f.rig, pair_turn(pair));
		pair_end_close(pair, !first, rand() % 2);
		while (pair->started)
			assert_good(&f.rig, pair_turn(pair));
		pair_close(pair);
		assert_good(&f.rig, pair_rig_check(&f.rig));
	}
	teardown(&f);
}

/* auto without a sockmap: copy for those who talk, splice for those who move bulk. */
static void test_auto_without_sockmap(void **state)
{
	struct fixture f;

	setup(&f, RELAY_AUTO);
	f.rig.env.enter_after = 4;
	assert_good(&f.rig, pair_begin(&f.pair));
	for (int i = 0; i < 40; i++)
		assert_good(&f.rig, pair_send_both(&f.pair, 10));
	assert_string_equal(relay_method_name(&f.pair.relay), "copy");
	assert_int_equal(f.rig.env.refused[REFUSED_UNFIT], 1);
	assert_int_equal(f.pair.relay.refused, REFUSED_UNFIT);
	assert_good(&f.rig, pair_send(&f.pair, UPSTREAM, 8 * MIB));
	assert_string_equal(relay_method_name(&f.pair.relay), "splice");
	assert_good(&f.rig, pair_send_both(&f.pair, MIB));
	finishes(&f);
	assert_int_equal(f.rig.env.refused[REFUSED_UNFIT], 1);
	teardown(&f);
}

#define METHOD_TEST(fn, method)                                          \
	{                                                                \
#fn " by " #method, fn, NULL, NULL, &(enum relay_method) \
		{                                                        \
			method                                           \
		}                                                        \
	}
#define BOTH(fn) METHOD_TEST(fn, RELAY_COPY), METHOD_TEST(fn, RELAY_SPLICE)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_bytes),
		BOTH(test_queued_before_the_start),
		BOTH(test_half_close),
		BOTH(test_empty_flow),
		BOTH(test_reset),
		BOTH(test_reset_by_a_blocked_sender),
		BOTH(test_stalled_readers),
		BOTH(test_closed_while_it_holds),
		BOTH(test_scarce_memory),
		BOTH(test_close_races),
		cmocka_unit_test(test_auto_without_sockmap),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* as the daemon does: splice() has no MSG_NOSIGNAL */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
