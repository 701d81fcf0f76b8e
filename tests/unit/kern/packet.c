/* The translation, packet by packet (BPF_PROG_TEST_RUN): every result is compared with a packet that was made
 * from scratch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "packet_synthetic.h"

#define B32(n)    (uint8_t)((n) >> 24), (uint8_t)((n) >> 16), (uint8_t)((n) >> 8), (uint8_t)(n)
#define TS(v, e)  8, 10, B32(v), B32(e)
#define TS_IN     TS(0x01020304U, 0xfffffff5U)
#define TS_OUT    TS(0x01020304U + TS_ADD, 0xfffffff5U + ECR_ADD)
#define SACK(n)   5, 2 + 8 * (n)
#define BLOCK_IN  B32(0xeffffffeU), B32(0xfffffffeU)
#define BLOCK_OUT B32(0xeffffffeU + ACK_ADD), B32(0xfffffffeU + ACK_ADD)

struct layout {
	const char *name;
	size_t bytes;
	uint32_t verdict;
	uint8_t in[OPTION_MAX], out[OPTION_MAX]; /* when sent on */
};

#define SENT    TC_ACT_REDIRECT
#define DROPPED TC_ACT_SHOT

static const struct layout layouts[] = {
	{ "none", 0, SENT, { 0 }, { 0 } },
	{ "timestamps", 12, SENT, { 1, 1, TS_IN }, { 1, 1, TS_OUT } },
	{ "timestamps first", 12, SENT, { TS_IN, 1, 1 }, { TS_OUT, 1, 1 } },
	{ "timestamps at an odd place", 12, SENT, { 1, TS_IN, 1 }, { 1, TS_OUT, 1 } },
	{ "timestamps, end", 12, SENT, { TS_IN, 0, 0 }, { TS_OUT, 0, 0 } },
	{ "timestamps, sack",
	  24,
	  SENT,
	  { 1, 1, TS_IN, 1, 1, SACK(1), BLOCK_IN },
	  { 1, 1, TS_OUT, 1, 1, SACK(1), BLOCK_OUT } },
	{ "timestamps, 3 sacks",
	  40,
	  SENT,
	  { 1, 1, TS_IN, 1, 1, SACK(3), BLOCK_IN, BLOCK_IN, BLOCK_IN },
	  { 1, 1, TS_OUT, 1, 1, SACK(3), BLOCK_OUT, BLOCK_OUT, BLOCK_OUT } },
	{ "sack", 12, SENT, { 1, 1, SACK(1), BLOCK_IN }, { 1, 1, SACK(1), BLOCK_OUT } },
	{ "4 sacks",
	  36,
	  SENT,
	  { 1, 1, SACK(4), BLOCK_IN, BLOCK_IN, BLOCK_IN, BLOCK_IN },
	  { 1, 1, SACK(4), BLOCK_OUT, BLOCK_OUT, BLOCK_OUT, BLOCK_OUT } },
	{ "sack, timestamps",
	  24,
	  SENT,
	  { 1, 1, SACK(1), BLOCK_IN, 1, 1, TS_IN },
	  { 1, 1, SACK(1), BLOCK_OUT, 1, 1, TS_OUT } },
	{ "sack at an odd place",
	  12,
	  SENT,
	  { 1, SACK(1), BLOCK_IN, 0 },
	  { 1, SACK(1), BLOCK_OUT, 0 } },
	{ "padding", 8, SENT, { 1, 1, 1, 1, 1, 1, 1, 1 }, { 1, 1, 1, 1, 1, 1, 1, 1 } },
	{ "what is behind the end",
	  8,
	  SENT,
	  { 0, 8, 10, 5, 5, 8, 8, 9 },
	  { 0, 8, 10, 5, 5, 8, 8, 9 } },
	{ "unknown", 8, SENT, { 254, 4, 9, 9, 253, 2, 1, 1 }, { 1, 1, 1, 1, 1, 1, 1, 1 } },
	{ "MPTCP, timestamps",
	  20,
	  SENT,
	  { 30, 8, 9, 9, 9, 9, 9, 9, 1, 1, TS_IN },
	  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, TS_OUT } },
	{ "a sack of half a block",
	  8,
	  SENT,
	  { 5, 6, 1, 2, 3, 4, 0, 0 },
	  { 1, 1, 1, 1, 1, 1, 0, 0 } },
	{ "timestamps twice",
	  20,
	  SENT,
	  { TS_IN, TS(1U, 2U) },
	  { TS_OUT, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 } },
	{ "length 0", 4, DROPPED, { 254, 0, 0, 0 }, { 0 } },
	{ "length 1", 4, DROPPED, { 1, 254, 1, 0 }, { 0 } },
	{ "length missing", 4, DROPPED, { 1, 1, 1, 8 }, { 0 } },
	{ "length missing at the very end",
	  40,
	  DROPPED,
	  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8 },
	  { 0 } },
	{ "timestamps beyond the end", 8, DROPPED, { 8, 10, 1, 2, 3, 4, 5, 6 }, { 0 } },
	{ "sack beyond the end", 12, DROPPED, { 1, 1, SACK(2), BLOCK_IN }, { 0 } },
	{ "length 255", 8, DROPPED, { 5, 255, 1, 2, 3, 4, 5, 6 }, { 0 } },
};

static void check_layout(const struct layout *l, const struct packet_spec *spec, int side)
{
	struct fields f = arriving(spec, side), t;

	f.option_bytes = l->bytes;
	memcpy(f.options, l->in, sizeof(f.options));
	for (size_t payload = 0; payload < 1300; payload = payload * 3 + 1) {
		f.payload = payload;
		t = translated(&f, spec, side);
		memcpy(t.options, l->out, sizeof(t.options));
		expect(l->name, &f, l->verdict, l->verdict == SENT ? &t : NULL);
	}
}

static void test_options(void **state)
{
	for (int six = 0; six < 2; six++) {
		const struct packet_spec *spec = spec_of(six ? AF_INET6 : AF_INET, IPPROTO_TCP);
		struct packet_pair pair = take(spec);

		for (size_t i = 0; i < sizeof(layouts) / sizeof(*layouts); i++)
			for (int side = 0; side < 2; side++)
				check_layout(&layouts[i], spec, side);
		assert_int_equal(pair.shared->side[0].dropped, pair.shared->side[1].dropped);
		assert_int_equal(pair.shared->side[0].dropped, 7 * 8 * TIMES);
		packet_remove(&pair);
	}
}

static void test_windows(void **state)
{
	static const struct {
		int shift;
		uint16_t in, out;
	} list[] = { { 0, 65535, 65535 },  { 7, 500, 64000 },  { 7, 600, 65535 }, { 14, 1, 16384 },
		     { 14, 65535, 65535 }, { -7, 64000, 500 }, { -7, 127, 1 },    { -7, 0, 0 },
		     { -14, 65535, 3 },    { -14, 1, 1 },      { 14, 0, 0 } };
	const struct packet_spec *spec = spec_of(AF_INET, IPPROTO_TCP);
	struct packet_pair pair = take(spec);

	for (size_t i = 0; i < sizeof(list) / sizeof(*list); i++) {
		struct fields f = arriving(spec, 1), t;

		pair.shared->shift[1] = (int8_t)list[i].shift;
		f.window = list[i].in;
		t = translated(&f, spec, 1);
		t.window = list[i].out;
		expect("window", &f, SENT, &t);
	}
	packet_remove(&pair);
}

static uint32_t any(uint32_t below)
{
	static uint64_t seed = 12345;

	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(seed >> 32) % below;
}

/* Numbers that wrap, flags, lengths: at random, but the same each time. */
static void test_many(void **state)
{
	for (int six = 0; six < 2; six++) {
		const struct packet_spec *spec = spec_of(six ? AF_INET6 : AF_INET, IPPROTO_TCP);
		struct packet_pair pair = take(spec);

		for (int i = 0; i < 3000; i++) {
			const struct layout *l = &layouts[any(17)];
			int side = (int)any(2);
			struct fields f = arriving(spec, side), t;

			f.seq = any(UINT32_MAX);
			f.ack = any(UINT32_MAX);
			f.ttl = (uint8_t)(2 + any(254));
			f.payload = any(1460);
			f.flags = (uint8_t)(TCP_ACK | (any(256) & (TCP_URG | TCP_PSH | 0xc0)));
			f.option_bytes = l->bytes;
			memcpy(f.options, l->in, sizeof(f.options));
			t = translated(&f, spec, side);
			memcpy(t.options, l->out, sizeof(t.options));
			expect(l->name, &f, SENT, &t);
		}
		packet_remove(&pair);
	}
}

static void test_udp(void **state)
{
	for (int six = 0; six < 2; six++) {
		const struct packet_spec *spec = spec_of(six ? AF_INET6 : AF_INET, IPPROTO_UDP);
		struct packet_pair pair;

		assert_int_equal(packet_add(packet, spec, &pair), 0);
		assert_int_equal(packet_open(&pair), 0);
		assert_int_equal(packet_state(&pair), SEAM_PACKET_TAKEN);
		for (size_t payload = 0; payload < 1200; payload++) {
			struct fields f = arriving(spec, payload & 1), t;

			f.payload = payload;
			f.no_checksum = !six && payload % 3 == 0;
			t = translated(&f, spec, payload & 1);
			expect("UDP", &f, SENT, &t);
		}
		assert_int_equal(pair.shared->side[0].packets, 600 * TIMES);
		assert_int_equal(pair.shared->side[1].bytes, 600 * 600 * TIMES);
		packet_remove(&pair);
	}
}

/* Over once neither side has sent for so long, whatever comes then. */
static void test_udp_quiet(void **state)
{
	struct packet_spec spec = *spec_of(AF_INET, IPPROTO_UDP);
	struct fields f = arriving(&spec, 0), t = translated(&f, &spec, 0);
	struct packet_pair pair;
	struct packet_stats stats;

	spec.quiet_ms = 60000;
	assert_int_equal(packet_add(packet, &spec, &pair), 0);
	assert_int_equal(packet_open(&pair), 0);
	expect("the first", &f, SENT, &t);
	pair.shared->side[0].last -= 50000000000U;
	expect("used", &f, SENT, &t);
	pair.shared->side[0].last -= 70000000000U;
	pair.shared->side[1].last = pair.shared->side[0].last + 20000000000U;
	expect("used by the other", &f, SENT, &t);
	pair.shared->side[0].last -= 70000000000U;
	pair.shared->side[1].last = 0;
	expect("quiet", &f, PASS, NULL);
	expect("for good", &f, PASS, NULL);
	packet_stats(&pair, &stats);
	assert_int_equal(stats.closing, SEAM_CLOSING_KILLED);
	packet_remove(&pair);
	spec.quiet_ms = 0;
	assert_int_equal(packet_add(packet, &spec, &pair), 0);
	assert_int_equal(packet_open(&pair), 0);
	pair.shared->side[0].last = 1;
	expect("without a limit", &f, SENT, &t);
	packet_remove(&pair);
}

/* Shorter than it says, in each header. */
static void test_truncated(void **state)
{
	for (int six = 0; six < 2; six++) {
		const struct packet_spec *spec = spec_of(six ? AF_INET6 : AF_INET, IPPROTO_TCP);
		const size_t l4 = ETHER + (six ? 40 : 20);
		struct packet_pair pair = take(spec);
		struct fields f = arriving(spec, 0);
		uint8_t frame[FRAME_MAX], want[FRAME_MAX];

		f.option_bytes = 12;
		memcpy(f.options, layouts[1].in, 12);
		for (size_t cut = l4; cut < l4 + 32; cut++)
			for (int honest = 0; honest < 2; honest++) {
				size_t bytes = cut;
				int ours = honest && cut >= l4 + 8;

				build(&f, frame);
				if (honest && six)
					put16(frame + ETHER + 4,
					      cut > l4 ? (uint32_t)(cut - l4) : 0);
				else if (honest)
					put16(frame + ETHER + 2, (uint32_t)(cut - ETHER));
				memcpy(want, frame, sizeof(want));
				assert_int_equal(run_frame(frame, &bytes, NULL),
						 ours ? DROPPED : PASS);
				compare("truncated", frame, bytes, want, cut);
			}
		packet_remove(&pair);
	}
}

static void expect_changed(const char *what, int family, uint32_t verdict, size_t at, uint8_t byte)
{
	struct fields f = arriving(spec_of(family, IPPROTO_TCP), 0);
	uint8_t frame[FRAME_MAX], want[FRAME_MAX];
	size_t bytes = build(&f, frame), before = bytes;
	uint32_t got;

	frame[at] = byte;
	memcpy(want, frame, sizeof(want));
	got = run_frame(frame, &bytes, NULL);
	if (got != verdict)
		fail_msg("%s: verdict %d", what, (int)got);
	compare(what, frame, bytes, want, before);
}

static void test_others(void **state)
{
	struct packet_pair four = take(spec_of(AF_INET, IPPROTO_TCP));
	struct packet_pair six = take(spec_of(AF_INET6, IPPROTO_TCP));

	expect_changed("for another host", AF_INET, PASS, 0, 2);
	expect_changed("another source", AF_INET, PASS, ETHER + 15, 99);
	expect_changed("another port", AF_INET, PASS, ETHER + 21, 99);
	expect_changed("another protocol", AF_INET, PASS, ETHER + 9, IPPROTO_SCTP);
	expect_changed("UDP with the same ports", AF_INET, PASS, ETHER + 9, IPPROTO_UDP);
	expect_changed("ARP", AF_INET, PASS, 13, 6);
	expect_changed("VLAN in the frame", AF_INET, PASS, 12, 0x81);
	expect_changed("version 5", AF_INET, PASS, ETHER, 0x55);
	expect_changed("header of 16 bytes", AF_INET, PASS, ETHER, 0x44);
	expect_changed("a later fragment", AF_INET, PASS, ETHER + 7, 9);
	expect_changed("first fragment", AF_INET, DROPPED, ETHER + 6, 0x20);
	expect_changed("another IPv6 source", AF_INET6, PASS, ETHER + 23, 99);
	expect_changed("an extension header", AF_INET6, PASS, ETHER + 6, 0);
	expect_changed("a fragment header", AF_INET6, PASS, ETHER + 6, 44);
	expect_changed("version 4 in IPv6", AF_INET6, PASS, ETHER, 0x41);
	expect_changed("longer than it is", AF_INET6, PASS, ETHER + 4, 1);
	packet_remove(&four);
	packet_remove(&six);
	expect_changed("nobody's any more", AF_INET, PASS, ETHER + 1, 0);
}

static void test_irregular(void **state)
{
	for (int six = 0; six < 2; six++) {
		const struct packet_spec *spec = spec_of(six ? AF_INET6 : AF_INET, IPPROTO_TCP);
		struct packet_pair pair = take(spec);
		struct fields f = arriving(spec, 1), t;
		uint8_t frame[FRAME_MAX];
		size_t bytes;
		uint32_t mark;

		f.ttl = 1;
		expect("TTL 1", &f, DROPPED, NULL);
		f.ttl = 0;
		expect("TTL 0", &f, DROPPED, NULL);
		f.ttl = 2;
		t = translated(&f, spec, 1);
		expect("TTL 2", &f, SENT, &t);
		f.ip_words = six ? 0 : 2;
		if (!six)
			expect("IP options", &f, DROPPED, NULL);
		f.ip_words = 0;
		bytes = build(&f, frame);
		assert_int_equal(run_frame(frame, &bytes, &mark), SENT);
		assert_int_equal(mark, MARK);
		assert_int_equal(pair.shared->side[1].dropped, (six ? 2 : 3) * TIMES);
		packet_remove(&pair);
	}
}

/* A router behind the upstream's interface says that @quoted is too big. */
static struct fields too_big(const struct packet_spec *spec, const uint8_t *quoted)
{
	struct fields f = arriving(spec, 1);
	struct addr router = address(f.family == AF_INET ? "192.0.2.254" : "2001:db8:ff::1");

	f.protocol = f.family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	fill_bytes(f.source, &router);
	f.quoted = quoted;
	f.payload = f.family == AF_INET ? 28 : 48;
	return f;
}

static void check_too_big(const struct packet_spec *spec, struct packet_pair *pair)
{
	uint8_t sent[FRAME_MAX], original[FRAME_MAX];
	struct fields x = arriving(spec, 0), y = translated(&x, spec, 0), f = too_big(spec, sent),
		      t;

	x.ttl--;
	build(&x, original);
	build(&y, sent);
	pair->shared->side[1].ack = y.seq - 5;
	t = f;
	t.ttl--;
	t.quoted = original;
	memcpy(t.destination, x.source, 16);
	for (size_t more = 0; more < 20; more += 5) {
		f.payload += more; /* of which the rest stays as it is: equal in both */
		t.payload = f.payload;
		memcpy(original + ETHER + 28, sent + ETHER + 28, x.family == AF_INET ? 100 : 0);
		memcpy(original + ETHER + 48, sent + ETHER + 48, 100);
		expect("too big", &f, SENT, &t);
	}
	f.payload = 20;
	expect("too big, cut", &f, PASS, NULL);
	f = too_big(spec, sent);
	y.seq -= 10; /* long acknowledged */
	build(&y, sent);
	expect("too big, forged", &f, PASS, NULL);
}

static void test_too_big(void **state)
{
	for (int six = 0; six < 2; six++) {
		const struct packet_spec *spec = spec_of(six ? AF_INET6 : AF_INET, IPPROTO_TCP);
		struct packet_pair pair = take(spec);

		check_too_big(spec, &pair);
		packet_remove(&pair);
	}
}

#define ECT0 2
#define CE   3

/* Side 0 alone has ECN, or both have it, or none. */
static const struct congestion {
	const char *name;
	uint32_t state;
	int side;
	bool far; /* numbers that no socket would take */
	uint8_t ecn, flags, ecn_out, flags_out;
	uint32_t state_out;
} congestions[] = {
#define ONLY SEAM_ECN_ONLY(0)
#define ECHO (SEAM_ECN_ONLY(0) | SEAM_ECN_ECHO(0))
	{ "not used", ONLY, 0, false, 0, 0, 0, 0, ONLY },
	{ "ECT(0)", ONLY, 0, false, ECT0, 0, 0, 0, ONLY },
	{ "ECT(1)", ONLY, 0, false, 1, 0, 0, 0, ONLY },
	{ "CE", ONLY, 0, false, CE, 0, 0, 0, ECHO },
	{ "CE again", ECHO, 0, false, CE, 0, 0, 0, ECHO },
	{ "CE, forged", ONLY, 0, true, CE, 0, 0, 0, ONLY },
	{ "flags", ONLY, 0, false, ECT0, TCP_ECE | TCP_CWR, 0, 0, ONLY },
	{ "nobody answers yet", ECHO, 0, false, ECT0, TCP_ECE, 0, 0, ECHO },
	{ "CWR", ECHO, 0, false, ECT0, TCP_CWR, 0, 0, ONLY },
	{ "CWR, forged", ECHO, 0, true, ECT0, TCP_CWR, 0, 0, ECHO },
	{ "CWR with CE", ECHO, 0, false, CE, TCP_CWR, 0, 0, ECHO },
	{ "answer", ONLY, 1, false, 0, 0, 0, 0, ONLY },
	{ "answer with ECE", ECHO, 1, false, 0, 0, 0, TCP_ECE, ECHO },
	{ "both: ECT(0)", 0, 0, false, ECT0, TCP_CWR, ECT0, TCP_CWR, 0 },
	{ "both: CE", 0, 1, false, CE, TCP_ECE, CE, TCP_ECE, 0 },
};

/* The numbers of the pair are those that @f has, or far from them. */
static void set_numbers(struct packet_pair *pair, const struct fields *f, int side, bool far)
{
	struct seam_side *s = &pair->shared->side[side], *o = &pair->shared->side[!side];

	o->ack = f->seq - ACK_ADD + (far ? 1U << 30 : 0);
	o->end = f->ack - SEQ_ADD;
	s->ack = f->ack;
}

static void test_congestion(void **state)
{
	for (int six = 0; six < 2; six++) {
		const struct packet_spec *spec = spec_of(six ? AF_INET6 : AF_INET, IPPROTO_TCP);
		struct packet_pair pair = take(spec);

		for (size_t i = 0; i < 2 * sizeof(congestions) / sizeof(*congestions); i++) {
			const struct congestion *c = &congestions[i / 2];
			int swap = (int)i % 2, side = c->side ^ swap;
			uint8_t frame[FRAME_MAX];
			size_t bytes;
			struct fields f = arriving(spec, side), t;

			f.ecn = c->ecn;
			f.flags = TCP_ACK | c->flags;
			t = translated(&f, spec, side);
			t.ecn = c->ecn_out;
			t.flags = TCP_ACK | c->flags_out;
			set_numbers(&pair, &f, side, c->far);
			pair.shared->ecn = c->state << swap;
			expect(c->name, &f, SENT, &t);
			pair.shared->ecn = c->state << swap;
			bytes = build(&f, frame); /* once */
			run_frame(frame, &bytes, NULL);
			if (pair.shared->ecn != c->state_out << swap)
				fail_msg("%s: state %u", c->name, pair.shared->ecn);
		}
		packet_remove(&pair);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),   cmocka_unit_test(test_windows),
		cmocka_unit_test(test_many),      cmocka_unit_test(test_udp),
		cmocka_unit_test(test_udp_quiet), cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_others),    cmocka_unit_test(test_irregular),
		cmocka_unit_test(test_too_big),   cmocka_unit_test(test_congestion),
	};
	const char *missing = enter();
	int r;

	if (missing)
		return skipped(missing);
	r = load();
	if (r)
		return r == -EPERM ? skipped("loading BPF takes privileges") : 1;
	sums = knows_sums();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	packet_free(packet, false);
	return r;
}
