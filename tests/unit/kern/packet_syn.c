/* SYNs on their way out, layout by layout. BPF_PROG_TEST_RUN knows no socket that could be told anything: here a packet
 * socket is, which sends what it likes, and what comes out of the other end of a veth is compared with a packet that was
 * made from scratch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <sys/ioctl.h>
#include "kern/packet_object.h"
#include "kern/packet_syn.h"
#include "packet_synthetic.h"

#define MARKER      0xabcd /* id of ours in IPv4, and in the flow label of IPv6 */
#define MSS(n)      2, 4, (n) >> 8, (n)&255
#define SACK_PERMIT 4, 2
#define STAMPS      8, 10, 1, 2, 3, 4, 0, 0, 0, 0
#define SCALE       3, 3, 7
#define COOKIE      34, 6, 9, 9, 9, 9
#define ONES(n)     ONES_##n
#define ONES_2      1, 1
#define ONES_10     1, 1, 1, 1, 1, 1, 1, 1, 1, 1
#define KEPT        0 /* told: the SYN is as it was */

static const struct syn_limits all = { .no_timestamps = true, .no_sack = true, .mss = 536 };
static const struct syn_limits no_timestamps = { .no_timestamps = true };
static const struct syn_limits no_sack = { .no_sack = true };
static const struct syn_limits large = { .mss = 1460 };

static const struct {
	const char *name;
	const struct syn_limits *limits;
	size_t bytes;
	uint32_t told;
	uint8_t in[OPTION_MAX], out[OPTION_MAX];
} layouts[] = {
	{ "none", &all, 0, 0, { 0 }, { 0 } },
	{ "Linux",
	  &all,
	  20,
	  536,
	  { MSS(1460), SACK_PERMIT, STAMPS, 1, SCALE },
	  { MSS(536), ONES(2), ONES(10), 1, SCALE } },
	{ "Linux, timestamps",
	  &no_timestamps,
	  20,
	  1460,
	  { MSS(1460), SACK_PERMIT, STAMPS, 1, SCALE },
	  { MSS(1460), SACK_PERMIT, ONES(10), 1, SCALE } },
	{ "Linux, SACK",
	  &no_sack,
	  20,
	  1460,
	  { MSS(1460), SACK_PERMIT, STAMPS, 1, SCALE },
	  { MSS(1460), ONES(2), STAMPS, 1, SCALE } },
	{ "without timestamps",
	  &all,
	  12,
	  536,
	  { MSS(1460), 1, 1, SACK_PERMIT, 1, SCALE },
	  { MSS(536), 1, 1, ONES(2), 1, SCALE } },
	{ "timestamps alone", &all, 12, 0, { 1, 1, STAMPS }, { 1, 1, ONES(10) } },
	{ "MSS alone", &all, 4, 536, { MSS(9000) }, { MSS(536) } },
	{ "a smaller MSS", &all, 4, 500, { MSS(500) }, { MSS(500) } },
	{ "the same MSS", &large, 4, 1460, { MSS(1460) }, { MSS(1460) } },
	{ "MSS 65535", &large, 4, 1460, { MSS(65535) }, { MSS(1460) } },
	{ "MSS at an odd place",
	  &all,
	  8,
	  536,
	  { 1, MSS(1460), 1, 0, 0 },
	  { 1, MSS(536), 1, 0, 0 } },
	{ "MSS last",
	  &all,
	  40,
	  536,
	  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,        1,
	    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, MSS(1460) },
	  { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,       1,
	    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, MSS(536) } },
	{ "fast open",
	  &all,
	  28,
	  536,
	  { MSS(1460), SACK_PERMIT, STAMPS, 1, SCALE, COOKIE, 1, 1 },
	  { MSS(536), ONES(2), ONES(10), 1, SCALE, COOKIE, 1, 1 } },
	{ "what is behind the end",
	  &all,
	  12,
	  536,
	  { MSS(1460), 0, SACK_PERMIT, 2, 4, 5, 180, 0 },
	  { MSS(536), 0, SACK_PERMIT, 2, 4, 5, 180, 0 } },
	{ "MSS of 3 bytes",
	  &all,
	  8,
	  0,
	  { 2, 3, 5, 1, SACK_PERMIT, 1, 1 },
	  { 2, 3, 5, 1, ONES(2), 1, 1 } },
	{ "nothing to do",
	  &large,
	  20,
	  1200,
	  { MSS(1200), SACK_PERMIT, STAMPS, 1, SCALE },
	  { MSS(1200), SACK_PERMIT, STAMPS, 1, SCALE } },
	{ "length 0", &all, 8, KEPT, { MSS(1460), 254, 0, 1, 1 }, { MSS(1460), 254, 0, 1, 1 } },
	{ "length 1", &all, 8, KEPT, { MSS(1460), 4, 1, 1, 1 }, { MSS(1460), 4, 1, 1, 1 } },
	{ "length missing", &all, 8, KEPT, { MSS(1460), 1, 1, 1, 8 }, { MSS(1460), 1, 1, 1, 8 } },
	{ "MSS beyond the end", &all, 4, KEPT, { 1, 1, 2, 4 }, { 1, 1, 2, 4 } },
	{ "timestamps beyond the end",
	  &all,
	  12,
	  KEPT,
	  { MSS(1460), 8, 10, 1, 2, 3, 4, 5, 6 },
	  { MSS(1460), 8, 10, 1, 2, 3, 4, 5, 6 } },
	{ "length 255", &all, 8, KEPT, { MSS(1460), 2, 255, 1, 1 }, { MSS(1460), 2, 255, 1, 1 } },
};

static int sender, receiver;

static int open_at(const char *name)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)), on = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)))
		return -1;
	return fd;
}

static struct fields syn_of(int family)
{
	struct fields f = arriving(spec_of(family, IPPROTO_TCP), 0);

	f.flags = TCP_SYN;
	f.ack = 0;
	f.payload = 0;
	return f;
}

static bool is_ours(const uint8_t *frame, size_t bytes)
{
	if (bytes < ETHER + 20)
		return false;
	if (frame[12] == 8 && !frame[13])
		return frame[ETHER + 4] == MARKER >> 8 && frame[ETHER + 5] == (MARKER & 255);
	return frame[12] == 0x86 && frame[13] == 0xdd && frame[ETHER + 3] == 0x67;
}

/* What the kernel has of a frame that leaves with its checksum left to the hardware: the sum of the pseudo header. */
static void leave_checksum(const struct fields *f, uint8_t *frame, size_t bytes,
			   struct virtio_net_hdr *head)
{
	size_t start = ETHER + (f->family == AF_INET ? 20 + f->ip_words * 4U : 40);
	size_t address = f->family == AF_INET ? 4 : 16;
	uint32_t sum = f->protocol + (uint32_t)(bytes - start);

	sum = sum_up(f->source, address, sum_up(f->destination, address, sum));
	put16(frame + start + 16, (uint16_t)~finish(sum));
	*head = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					 .csum_start = (uint16_t)start,
					 .csum_offset = 16 };
}

/* @frame of FRAME_MAX becomes what comes out at the other end. */
static size_t pass(uint8_t *frame, size_t bytes, const struct virtio_net_hdr *head)
{
	uint8_t out[sizeof(*head) + FRAME_MAX];
	struct pollfd p = { .fd = receiver, .events = POLLIN };

	memcpy(out, head, sizeof(*head));
	memcpy(out + sizeof(*head), frame, bytes);
	assert_int_equal(send(sender, out, sizeof(*head) + bytes, 0), sizeof(*head) + bytes);
	while (poll(&p, 1, 2000) == 1) {
		ssize_t n = recv(receiver, out, sizeof(out), 0);

		assert_true(n > (ssize_t)sizeof(*head));
		if (!is_ours(out + sizeof(*head), (size_t)n - sizeof(*head)))
			continue;
		memcpy(frame, out + sizeof(*head), (size_t)n - sizeof(*head));
		return (size_t)n - sizeof(*head);
	}
	fail_msg("nothing came");
	return 0;
}

static uint32_t told(void)
{
	struct seam_offer offer = { .told = 99 };

	assert_int_equal(bpf_map_lookup_elem(packet->offers_fd, &sender, &offer), 0);
	return offer.told;
}

static void limit(const struct syn_limits *limits)
{
	assert_int_equal(packet_limit_syn(packet, sender, (int)if_nametoindex("a0"), limits), 0);
	assert_int_equal(told(), 0);
}

/* With its checksum, and with one that is left to the device (which leaves it to the kernel here). */
static void expect_syn(const char *what, const struct syn_limits *limits, const struct fields *f,
		       const struct fields *t, uint32_t want_told)
{
	for (int partial = 0; partial < 2; partial++) {
		struct virtio_net_hdr head = { 0 };
		uint8_t frame[FRAME_MAX], want[FRAME_MAX];
		size_t bytes = build(f, frame), want_bytes = build(t, want);

		if (partial)
			leave_checksum(f, frame, bytes, &head);
		limit(limits);
		bytes = pass(frame, bytes, &head);
		compare(what, frame, bytes, want, want_bytes);
		if (told() != want_told)
			fail_msg("%s: told %u instead of %u", what, told(), want_told);
	}
}

static void test_layouts(void **state)
{
	for (size_t i = 0; i < 2 * sizeof(layouts) / sizeof(*layouts); i++) {
		struct fields f = syn_of(i % 2 ? AF_INET6 : AF_INET), t;

		f.option_bytes = layouts[i / 2].bytes;
		memcpy(f.options, layouts[i / 2].in, sizeof(f.options));
		t = f;
		memcpy(t.options, layouts[i / 2].out, sizeof(t.options));
		expect_syn(layouts[i / 2].name, layouts[i / 2].limits, &f, &t, layouts[i / 2].told);
	}
}

/* @option_bytes: as in Linux' own SYNs. */
static struct fields linux_syn(int family)
{
	struct fields f = syn_of(family);

	f.option_bytes = layouts[1].bytes;
	memcpy(f.options, layouts[1].in, sizeof(f.options));
	return f;
}

static void test_others(void **state)
{
	for (int six = 0; six < 2; six++) {
		struct fields f = linux_syn(six ? AF_INET6 : AF_INET), t = f;

		t.flags = f.flags = TCP_SYN | TCP_ACK;
		expect_syn("SYN and ACK", &all, &f, &t, KEPT);
		t.flags = f.flags = TCP_ACK;
		expect_syn("ACK", &all, &f, &t, KEPT);
		t.flags = f.flags = TCP_RST;
		expect_syn("RST", &all, &f, &t, KEPT);
		t.flags = f.flags = TCP_SYN | TCP_ECE | TCP_CWR;
		memcpy(t.options, layouts[1].out, sizeof(t.options));
		expect_syn("SYN with ECN", &all, &f, &t, 536);
		t.payload = f.payload = 777;
		expect_syn("SYN with data", &all, &f, &t, 536);
		if (six)
			continue;
		t.ip_words = f.ip_words = 3;
		expect_syn("IP options", &all, &f, &t, 536);
	}
}

/* Shorter than it says: as it was. */
static void test_truncated(void **state)
{
	for (int six = 0; six < 2; six++) {
		struct fields f = linux_syn(six ? AF_INET6 : AF_INET);
		const size_t l4 = ETHER + (six ? 40 : 20);

		for (size_t cut = l4; cut < l4 + 20 + f.option_bytes; cut++)
			for (int honest = 0; honest < 2; honest++) {
				struct virtio_net_hdr head = { 0 };
				uint8_t frame[FRAME_MAX], want[FRAME_MAX];

				build(&f, frame);
				if (honest && six)
					put16(frame + ETHER + 4, (uint32_t)(cut - l4));
				else if (honest)
					put16(frame + ETHER + 2, (uint32_t)(cut - ETHER));
				memcpy(want, frame, sizeof(want));
				limit(&all);
				compare("truncated", frame, pass(frame, cut, &head), want, cut);
				assert_int_equal(told(), 0);
			}
	}
}

/* A socket that nobody has limited, and other protocols. */
static void test_strangers(void **state)
{
	int limited = sender;

	for (int six = 0; six < 2; six++) {
		struct fields f = linux_syn(six ? AF_INET6 : AF_INET);
		struct virtio_net_hdr head = { 0 };
		uint8_t frame[FRAME_MAX], want[FRAME_MAX];
		size_t bytes = build(&f, frame);

		memcpy(want, frame, sizeof(want));
		sender = open_at("a0");
		assert_true(sender >= 0);
		compare("another socket", frame, pass(frame, bytes, &head), want, bytes);
		close(sender);
		sender = limited;
		limit(&all);
		frame[ETHER + (six ? 6 : 9)] = want[ETHER + (six ? 6 : 9)] = IPPROTO_SCTP;
		compare("SCTP", frame, pass(frame, bytes, &head), want, bytes);
		assert_int_equal(told(), 0);
	}
}

static bool is_attached(const char *name)
{
	char text[128];

	snprintf(text, sizeof(text), "tc filter show dev a0 egress | grep -q %s", name);
	return !system(text);
}

/* What a killed process has left in clsact (kernels before 6.6) is removed by the next. */
static void test_left_behind(void **state)
{
	char reason[PACKET_REASON_MAX];

	packet_free(packet, false);
	assert_int_equal(load(), 0);
	packet->no_tcx = true;
	limit(&all);
	assert_true(is_attached("seam_syn_ether"));
	test_others(state);
	free(packet->hooks); /* forgets that they are there */
	packet->hooks = NULL;
	packet->hook_count = 0;
	packet_free(packet, true);
	assert_true(is_attached("seam_syn_ether"));
	assert_int_equal(packet_load(&packet, 64, PINS, reason), 0);
	assert_false(is_attached("seam_"));
	packet->no_tcx = true;
	limit(&all);
	assert_true(is_attached("seam_syn_ether"));
	packet_free(packet, true);
	assert_false(is_attached("seam_"));
	assert_int_equal(load(), 0);
}

static void test_interfaces(void **state)
{
	struct netif_list none = { .refs = 1 };
	const struct syn_limits limits = { .mss = 1000 };
	size_t before;

	limit(&all);
	before = packet->hook_count;
	assert_int_equal(packet_limit_syn(packet, sender, (int)if_nametoindex("lo"), &limits),
			 -EOPNOTSUPP);
	assert_int_equal(packet_limit_syn(packet, sender, 9999, &limits), -ENODEV);
	assert_int_equal(packet_limit_syn(packet, -1, (int)if_nametoindex("a0"), &limits), -EBADF);
	assert_int_equal(packet->hook_count, before);
	packet_interfaces(packet, &none);
	assert_int_equal(packet->hook_count, 0);
	limit(&all);
	assert_int_equal(packet->hook_count, 1);
}

/* veth passes on what has no checksum yet; a device without that feature gets it from the kernel. */
static bool has_no_offload(void)
{
	struct ethtool_value off = { .cmd = ETHTOOL_STXCSUM };
	struct ifreq ifr = { .ifr_name = "a0", .ifr_data = (void *)&off };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool good = fd >= 0 && !ioctl(fd, SIOCETHTOOL, &ifr);

	if (fd >= 0)
		close(fd);
	return good;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layouts),    cmocka_unit_test(test_others),
		cmocka_unit_test(test_truncated),  cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_interfaces), cmocka_unit_test(test_left_behind),
	};
	const char *missing = enter();
	int r;

	if (missing)
		return skipped(missing);
	if (!run("ip link set a0 up\nip link set a1 up") || !has_no_offload())
		return skipped("veth interfaces are not as needed");
	sender = open_at("a0");
	receiver = open_at("a1");
	if (sender < 0 || receiver < 0)
		return skipped("packet sockets take CAP_NET_RAW");
	r = load();
	if (r)
		return r == -EPERM ? skipped("loading BPF takes privileges") : 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	packet_free(packet, false);
	close(sender);
	close(receiver);
	return r;
}
