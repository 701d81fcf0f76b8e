/* Pairs with made-up numbers, and what becomes of their packets (BPF_PROG_TEST_RUN). */
#pragma once
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "kern/packet.h"
#include "netns.h"
#include "packet_frames.h"

#define PINS    "/sys/fs/bpf/seam_unit_packet"
#define PASS    ((uint32_t)TC_ACT_UNSPEC)
#define SEQ_ADD 0x90000000U
#define ACK_ADD 0x12345678U
#define TS_ADD  0xfffff000U
#define ECR_ADD 0x00010001U
#define MARK    0x77U
#define SUMMED  (1U << 2) /* BPF_F_TEST_SKB_CHECKSUM_COMPLETE */

static struct packet *packet;
static int program;

static inline const struct packet_spec *spec_of(int family, uint8_t protocol)
{
	static struct packet_spec spec;
	const char *text[2][4] = { { "192.0.2.10", "198.51.100.1", "198.51.100.1", "203.0.113.5" },
				   { "2001:db8:1::10", "2001:db8:9::1", "2001:db8:9::1",
				     "2001:db8:2::5" } };
	const char **t = text[family == AF_INET6];

	spec = (struct packet_spec){ .protocol = protocol, .label = { .id = 4711 } };
	for (int i = 0; i < 2; i++)
		spec.end[i] = (struct packet_end){ .interface = (int)if_nametoindex(i ? "b0"
										      : "a0"),
						   .mark = MARK + (uint32_t)i };
	spec.end[0].remote = address(t[0]);
	spec.end[0].local = address(t[1]);
	spec.end[1].remote = address(t[2]);
	spec.end[1].local = address(t[3]);
	spec.end[0].remote.port = 40000;
	spec.end[0].local.port = 443;
	spec.end[1].remote.port = 8443;
	spec.end[1].local.port = 50001;
	spec.end[1].next_hop = address(family == AF_INET6 ? "fe80::77" : "203.0.113.77");
	return &spec;
}

static inline void fill_bytes(uint8_t *bytes, const struct addr *addr)
{
	if (addr->family == AF_INET)
		memcpy(bytes, &addr->v4, 4);
	else
		memcpy(bytes, &addr->v6, 16);
}

static inline struct fields arriving(const struct packet_spec *spec, int side)
{
	const struct packet_end *end = &spec->end[side];
	struct fields f = { .family = end->remote.family,
			    .protocol = spec->protocol,
			    .ttl = 64,
			    .flags = TCP_ACK | TCP_PSH,
			    .sport = end->remote.port,
			    .dport = end->local.port,
			    .window = 500,
			    .seq = 0x7ffffff0,
			    .ack = 0xfffffff0,
			    .payload = 33 };

	fill_bytes(f.source, &end->remote);
	fill_bytes(f.destination, &end->local);
	return f;
}

/* What is to become of @f: options are the caller's. */
static inline struct fields translated(const struct fields *f, const struct packet_spec *spec,
				       int side)
{
	struct fields t = *f, back = arriving(spec, !side);

	memcpy(t.source, back.destination, 16);
	memcpy(t.destination, back.source, 16);
	t.sport = back.dport;
	t.dport = back.sport;
	t.ttl--;
	t.seq += SEQ_ADD;
	if (f->flags & TCP_ACK)
		t.ack += ACK_ADD;
	return t;
}

static inline struct packet_pair take(const struct packet_spec *spec)
{
	struct packet_pair pair;

	assert_int_equal(packet_add(packet, spec, &pair), 0);
	for (int i = 0; i < 2; i++) {
		struct seam_side *side = &pair.shared->side[i];

		side->seq_add = SEQ_ADD;
		side->ack_add = ACK_ADD;
		side->ts_add = TS_ADD;
		side->ecr_add = ECR_ADD;
	}
	pair.shared->state = SEAM_PACKET_TAKEN;
	return pair;
}

/* With a sum over the packet, as some hardware computes it: the kernel checks that it is kept right (6.16). */
static inline uint32_t run_summed(uint8_t *frame, size_t *bytes)
{
	uint8_t result[FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)*bytes,
		    .data_out = result, .data_size_out = sizeof(result), .flags = SUMMED);

	if (bpf_prog_test_run_opts(program, &opts))
		fail_msg("BPF_PROG_TEST_RUN of %zu bytes with CHECKSUM_COMPLETE: %s", *bytes,
			 strerror(errno));
	memcpy(frame, result, opts.data_size_out);
	*bytes = opts.data_size_out;
	return opts.retval;
}

static inline bool knows_sums(void)
{
	uint8_t frame[64] = { 0 }, result[FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .data_out = result, .data_size_out = sizeof(result), .flags = SUMMED);

	return !bpf_prog_test_run_opts(program, &opts);
}

static inline uint32_t run_frame(uint8_t *frame, size_t *bytes, uint32_t *ret_mark)
{
	struct __sk_buff in = { 0 }, out = { 0 };
	uint8_t result[FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)*bytes,
		    .data_out = result, .data_size_out = sizeof(result), .ctx_in = &in,
		    .ctx_size_in = sizeof(in), .ctx_out = &out, .ctx_size_out = sizeof(out));

	if (bpf_prog_test_run_opts(program, &opts))
		fail_msg("BPF_PROG_TEST_RUN of %zu bytes: %s", *bytes, strerror(errno));
	memcpy(frame, result, opts.data_size_out);
	*bytes = opts.data_size_out;
	if (ret_mark)
		*ret_mark = out.mark;
	return opts.retval;
}

static inline void compare(const char *what, const uint8_t *got, size_t got_bytes,
			   const uint8_t *want, size_t want_bytes)
{
	if (got_bytes != want_bytes)
		fail_msg("%s: %zu bytes instead of %zu", what, got_bytes, want_bytes);
	for (size_t i = 0; i < want_bytes; i++)
		if (got[i] != want[i])
			fail_msg("%s: byte %zu is %02x instead of %02x", what, i, got[i], want[i]);
}

static bool sums;              /* the kernel can be asked for CHECKSUM_COMPLETE */
#define TIMES (sums ? 2U : 1U) /* that expect() sends a packet */

/* @t: NULL when it is to stay as it is. */
static inline void expect(const char *what, const struct fields *f, uint32_t verdict,
			  const struct fields *t)
{
	uint8_t frame[FRAME_MAX], want[FRAME_MAX];
	size_t bytes = build(f, frame), want_bytes = build(t ? t : f, want);
	uint32_t got = run_frame(frame, &bytes, NULL);

	if (got != verdict)
		fail_msg("%s: verdict %d instead of %d", what, (int)got, (int)verdict);
	compare(what, frame, bytes, want, want_bytes);
	if (!sums)
		return;
	bytes = build(f, frame);
	assert_int_equal(run_summed(frame, &bytes), verdict);
	compare(what, frame, bytes, want, want_bytes);
}

static inline void open_program(void)
{
	program = bpf_obj_get(PINS "/packet_v2/seam_ether");
}

/* A bpffs of our own, and two interfaces. NULL: all is well. */
static inline const char *enter(void)
{
	if (!enter_netns())
		return "no network namespace of our own (CAP_SYS_ADMIN)";
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"))
		return "no bpffs of our own";
	if (!run("ip link add a0 type veth peer name a1\n"
		 "ip link add b0 type veth peer name b1\n"))
		return "the ip command cannot make veth interfaces";
	return NULL;
}

static inline int load(void)
{
	char reason[PACKET_REASON_MAX];
	int r = packet_load(&packet, 64, PINS, reason);

	if (r)
		print_message("%s\n", reason);
	else
		open_program();
	return r;
}
