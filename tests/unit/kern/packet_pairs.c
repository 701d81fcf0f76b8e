/* Pairs: when they are armed and missed, how they end, and what the next process finds of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "packet_synthetic.h"

#define X_END 1000U
#define Y_END 5000U

static uint32_t send_one(const struct fields *f)
{
	uint8_t frame[FRAME_MAX];
	size_t bytes = build(f, frame);

	return run_frame(frame, &bytes, NULL);
}

static struct packet_pair begin(int family)
{
	struct packet_pair pair;

	assert_int_equal(packet_add(packet, spec_of(family, IPPROTO_TCP), &pair), 0);
	return pair;
}

static void arm(const struct packet_pair *pair)
{
	pair->shared->from = 3;
	pair->shared->snapshot = pair->shared->seen;
	pair->shared->state = SEAM_PACKET_ARMED;
}

static void expect_missed(struct packet_pair *pair, const struct fields *f, unsigned why)
{
	assert_int_equal(send_one(f), PASS);
	assert_int_equal(packet_state(pair), SEAM_PACKET_MISSED);
	assert_int_equal(packet_why(pair), 1U << why);
	assert_int_equal(packet_disarm(pair), SEAM_PACKET_OFF);
}

static void test_missed(void **state)
{
	static const uint8_t flags[] = { TCP_ACK | TCP_FIN, TCP_ACK | TCP_SYN, TCP_ACK | TCP_RST,
					 TCP_ACK | TCP_URG, TCP_PSH };
	struct packet_pair pair = begin(AF_INET);
	struct fields good = arriving(spec_of(AF_INET, IPPROTO_TCP), 0), f = good;

	assert_int_equal(send_one(&f), PASS);
	assert_int_equal(packet_state(&pair), SEAM_PACKET_OFF);
	assert_int_equal(packet_seen(&pair), 1);
	assert_false(packet_seen_both(&pair));
	f = arriving(spec_of(AF_INET, IPPROTO_TCP), 1);
	assert_int_equal(send_one(&f), PASS);
	assert_true(packet_seen_both(&pair));
	assert_int_equal(packet_seen(&pair), 2);

	arm(&pair);
	expect_missed(&pair, &good, SEAM_WHY_SOCKET);
	arm(&pair);
	pair.shared->snapshot--;
	expect_missed(&pair, &good, SEAM_WHY_MOVED);
	for (size_t i = 0; i < sizeof(flags); i++) {
		f = good;
		f.flags = flags[i];
		arm(&pair);
		expect_missed(&pair, &f, SEAM_WHY_FLAGS);
	}
	f = good;
	f.ttl = 1;
	arm(&pair);
	expect_missed(&pair, &f, SEAM_WHY_IP);
	f = good;
	f.ip_words = 1;
	arm(&pair);
	expect_missed(&pair, &f, SEAM_WHY_IP);
	f = good;
	f.fragment = 0x2000;
	arm(&pair);
	expect_missed(&pair, &f, SEAM_WHY_IP);
	f = good;
	f.option_bytes = 4;
	f.options[0] = 254;
	f.options[1] = 4;
	arm(&pair);
	expect_missed(&pair, &f, SEAM_WHY_OPTION);
	f.options[1] = 5;
	arm(&pair);
	expect_missed(&pair, &f, SEAM_WHY_OPTION);
	packet_remove(&pair);
	assert_null(pair.packet);
	packet_remove(&pair);
}

static void test_disarmed(void **state)
{
	struct packet_pair pair = begin(AF_INET6);
	int fd[2] = { socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_STREAM, 0) };
	uint32_t owed[2] = { 0, 0 };

	assert_int_equal(packet_arm(&pair, fd, 0, owed), -EAGAIN);
	pair.shared->from = 3;
	assert_int_equal(packet_arm(&pair, fd, 1, owed), -EAGAIN);
	assert_int_equal(packet_arm(&pair, fd, 0, owed), 0);
	assert_int_equal(packet_state(&pair), SEAM_PACKET_ARMED);
	assert_int_equal(packet_arm(&pair, fd, 0, owed), -EBUSY);
	assert_int_equal(packet_disarm(&pair), SEAM_PACKET_OFF);
	assert_int_equal(packet_arm(&pair, fd, 0, owed), 0);
	pair.shared->state = (pair.shared->state & ~3U) | SEAM_PACKET_TAKEN;
	assert_int_equal(packet_disarm(&pair), SEAM_PACKET_TAKEN);
	assert_int_equal(packet_state(&pair), SEAM_PACKET_TAKEN);
	close(fd[0]);
	assert_int_equal(packet_arm(&pair, fd, 0, owed), -EBADF);
	close(fd[1]);
	packet_remove(&pair);
}

/* Numbers that fit each other, as a take-over leaves them. */
static struct packet_pair taken(void)
{
	struct packet_pair pair = take(spec_of(AF_INET, IPPROTO_TCP));
	struct seam_side *x = &pair.shared->side[0], *y = &pair.shared->side[1];

	x->seq_add = SEQ_ADD;
	x->ack_add = ACK_ADD;
	y->seq_add = -ACK_ADD;
	y->ack_add = -SEQ_ADD;
	x->end = X_END;
	x->ack = Y_END - ACK_ADD;
	y->end = Y_END;
	y->ack = X_END + SEQ_ADD;
	x->window = y->window = 1000;
	return pair;
}

static uint32_t from_side(int side, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct fields f = arriving(spec_of(AF_INET, IPPROTO_TCP), side);

	f.flags = flags;
	f.payload = 0;
	f.seq = seq;
	f.ack = ack;
	return send_one(&f);
}

static void test_closing(void **state)
{
	struct packet_pair pair = taken();
	struct packet_stats stats;

	assert_int_equal(from_side(0, TCP_ACK | TCP_FIN, X_END, Y_END - ACK_ADD), TC_ACT_REDIRECT);
	packet_stats(&pair, &stats);
	assert_int_equal(stats.closing, SEAM_CLOSING_FIN(0));
	from_side(1, TCP_ACK, Y_END, X_END + SEQ_ADD);
	packet_stats(&pair, &stats);
	assert_int_equal(stats.closing, SEAM_CLOSING_FIN(0));
	from_side(1, TCP_ACK, Y_END, X_END + SEQ_ADD + 1);
	packet_stats(&pair, &stats);
	assert_int_equal(stats.closing, SEAM_CLOSING_FIN(0) | SEAM_CLOSING_ACKED(0));
	assert_false(packet_ended(&pair));
	from_side(1, TCP_ACK | TCP_FIN, Y_END, X_END + SEQ_ADD + 1);
	from_side(0, TCP_ACK, X_END + 1, Y_END - ACK_ADD + 1);
	packet_stats(&pair, &stats);
	assert_int_equal(stats.closing, 15);
	assert_true(packet_ended(&pair));
	assert_int_equal(stats.packets[0], 2);
	assert_int_equal(stats.packets[1], 3);

	/* until the same ports are used again */
	assert_int_equal(from_side(0, TCP_ACK, X_END + 1, Y_END - ACK_ADD + 1), TC_ACT_REDIRECT);
	assert_int_equal(from_side(0, TCP_SYN, 77, 0), PASS);
	assert_int_equal(from_side(0, TCP_ACK, 78, 1), PASS);
	packet_remove(&pair);
}

static void test_reset(void **state)
{
	struct packet_pair pair = taken();

	from_side(1, TCP_RST | TCP_ACK, Y_END, X_END + SEQ_ADD);
	assert_true(packet_ended(&pair));
	packet_remove(&pair);
	pair = taken();
	assert_int_equal(from_side(0, TCP_SYN, 77, 0), TC_ACT_REDIRECT);
	assert_false(packet_ended(&pair));
	packet_remove(&pair);
}

/* What somebody sends who does not know the numbers goes on to the host, who knows what to do, but says
 * nothing to us. */
static void test_forged(void **state)
{
	struct packet_pair pair = taken();
	const struct seam_side before = pair.shared->side[0];

	from_side(0, TCP_RST, X_END - 1, 0);
	from_side(0, TCP_RST, X_END + 1001, 0);
	from_side(0, TCP_ACK | TCP_FIN, X_END + 0x40000000, Y_END - ACK_ADD);
	from_side(0, TCP_ACK | TCP_FIN, X_END, Y_END - ACK_ADD + 1);
	from_side(0, TCP_ACK | TCP_FIN, X_END, Y_END - ACK_ADD - 0x40000000);
	assert_int_equal(pair.shared->closing, 0);
	assert_int_equal(pair.shared->side[0].ack, before.ack);
	assert_int_equal(pair.shared->side[0].end, before.end);
	from_side(0, TCP_RST, X_END + 1000, 0);
	assert_int_equal(pair.shared->closing, SEAM_CLOSING_RST);
	packet_remove(&pair);
}

static void test_add(void **state)
{
	const struct packet_spec *spec = spec_of(AF_INET, IPPROTO_TCP);
	struct packet_pair pairs[64], more;
	struct packet_spec other = *spec;

	for (int i = 0; i < 64; i++) {
		other.end[0].remote.port = (in_port_t)(1000 + i);
		other.end[1].local.port = (in_port_t)(1000 + i);
		assert_int_equal(packet_add(packet, &other, &pairs[i]), 0);
	}
	assert_int_equal(packet_pairs_used(packet), 64);
	assert_int_equal(packet_add(packet, spec, &more), -ENOSPC);
	packet_remove(&pairs[5]);
	assert_int_equal(packet_add(packet, &other, &more), -EEXIST);
	other.end[0].remote.port = 999;
	assert_int_equal(packet_add(packet, &other, &more), -EEXIST); /* the second end only */
	assert_int_equal(packet_add(packet, spec, &pairs[5]), 0);
	for (int i = 0; i < 64; i++)
		packet_remove(&pairs[i]);
	assert_int_equal(packet_pairs_used(packet), 0);

	other.end[0].local = address("2001:db8::1");
	assert_int_equal(packet_add(packet, &other, &more), -EAFNOSUPPORT);
	other = *spec_of(AF_INET6, IPPROTO_TCP);
	other.end[0].remote = address("fe80::1");
	assert_int_equal(packet_add(packet, &other, &more), -EOPNOTSUPP);
	other = *spec_of(AF_INET6, IPPROTO_TCP);
	other.end[0].interface = (int)if_nametoindex("lo");
	assert_int_equal(packet_add(packet, &other, &more), -EOPNOTSUPP);
	other.end[0].interface = 12345;
	assert_int_equal(packet_add(packet, &other, &more), -ENODEV);
	assert_int_equal(packet_pairs_used(packet), 0);
}

static void test_way(void **state)
{
	static const char *const hops[] = { "2001:db8::5", "192.0.2.5", "192.0.2.6", NULL };
	struct packet_pair pair = taken();
	struct seam_side *side = &pair.shared->side[1];
	struct packet_end end = { .interface = (int)if_nametoindex("a0"), .mark = 5 };

	assert_int_equal(side->next_family, AF_INET);
	assert_int_equal(pair.shared->side[0].next_family, AF_UNSPEC);
	for (size_t i = 0; i < sizeof(hops) / sizeof(*hops); i++) {
		uint8_t bytes[16] = { 0 };

		end.next_hop = address(hops[i]);
		if (hops[i])
			fill_bytes(bytes, &end.next_hop);
		assert_int_equal(packet_set_way(&pair, 1, &end), 0);
		assert_int_equal(side->ifindex, end.interface);
		assert_int_equal(side->mark, 5);
		assert_int_equal(side->next_family, end.next_hop.family);
		assert_memory_equal(side->next_hop, bytes, sizeof(bytes));
		assert_int_equal(from_side(0, TCP_ACK, X_END, Y_END - ACK_ADD), TC_ACT_REDIRECT);
	}
	end.interface = 12345;
	assert_int_equal(packet_set_way(&pair, 1, &end), -ENODEV);
	assert_int_equal(side->ifindex, if_nametoindex("a0"));
	packet_remove(&pair);
}

static void test_adopted(void **state)
{
	struct packet_pair pair = taken(), untaken = begin(AF_INET6), found;
	const struct packet_spec *spec = spec_of(AF_INET, IPPROTO_TCP);
	struct packet_spec got;

	assert_int_equal(packet_next(packet, 0, &found, NULL), 0);
	assert_int_equal(packet_next(packet, found.index + 1, &found, NULL), 0);
	assert_int_equal(packet_next(packet, found.index + 1, &found, NULL), -ENOENT);
	from_side(0, TCP_ACK, X_END, Y_END - ACK_ADD);
	packet_free(packet, true);
	close(program);
	assert_int_equal(load(), 0);
	assert_int_equal(packet_pairs_used(packet), 1);
	assert_int_equal(packet_next(packet, 0, &found, &got), 0);
	assert_int_equal(found.index, pair.index);
	assert_int_equal(packet_state(&found), SEAM_PACKET_TAKEN);
	assert_int_equal(got.label.id, 4711);
	for (int i = 0; i < 2; i++) {
		assert_true(addr_equal(&got.end[i].remote, &spec->end[i].remote));
		assert_true(addr_equal(&got.end[i].local, &spec->end[i].local));
		assert_int_equal(got.end[i].interface, spec->end[i].interface);
		assert_int_equal(got.end[i].mark, spec->end[i].mark);
		assert_true(addr_equal(&got.end[i].next_hop, &spec->end[i].next_hop));
	}
	assert_int_equal(from_side(0, TCP_ACK, X_END, Y_END - ACK_ADD), TC_ACT_REDIRECT);
	assert_int_equal(found.shared->side[0].packets, 2);
	assert_int_equal(packet_next(packet, found.index + 1, &found, NULL), -ENOENT);
	(void)untaken;
	packet_next(packet, 0, &found, NULL);
	packet_remove(&found);
}

/* Left by a version with other maps, or with ours spoilt. */
static void test_not_adopted(void **state)
{
	struct packet_pair pair = taken();
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "seam_other", 4, 8, 1, NULL);

	(void)pair;
	packet_free(packet, true);
	close(program);
	assert_true(fd >= 0);
	assert_int_equal(mkdir(PINS "/packet_v99", 0700), 0);
	assert_int_equal(bpf_obj_pin(fd, PINS "/packet_v99/seam_pairs"), 0);
	assert_int_equal(unlink(PINS "/packet_v1/seam_labels"), 0);
	assert_int_equal(bpf_obj_pin(fd, PINS "/packet_v1/seam_labels"), 0);
	close(fd);
	assert_int_equal(load(), 0);
	assert_int_not_equal(access(PINS "/packet_v99", F_OK), 0);
	assert_int_equal(packet_pairs_used(packet), 0);
	pair = taken();
	assert_int_equal(from_side(0, TCP_ACK, X_END, Y_END - ACK_ADD), TC_ACT_REDIRECT);
	packet_remove(&pair);
}

static void test_nothing_left(void **state)
{
	struct packet_pair pair = taken();
	unsigned fds;

	assert_int_equal(packet_kill(&pair), -ENETUNREACH);
	assert_int_equal(packet_pairs_used(packet), 0);
	packet_free(packet, false);
	close(program);
	assert_int_not_equal(access(PINS "/packet_v1", F_OK), 0);
	fds = open_fds();
	assert_int_equal(load(), 0);
	pair = taken();
	packet_free(packet, false);
	close(program);
	assert_int_equal(open_fds(), fds);
	packet = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_missed),      cmocka_unit_test(test_disarmed),
		cmocka_unit_test(test_closing),     cmocka_unit_test(test_reset),
		cmocka_unit_test(test_forged),      cmocka_unit_test(test_add),
		cmocka_unit_test(test_way),         cmocka_unit_test(test_adopted),
		cmocka_unit_test(test_not_adopted), cmocka_unit_test(test_nothing_left),
	};
	const char *missing = enter();
	int r;

	if (missing)
		return skipped(missing);
	r = load();
	if (r)
		return r == -EPERM ? skipped("loading BPF takes privileges") : 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	packet_free(packet, false);
	return r;
}
