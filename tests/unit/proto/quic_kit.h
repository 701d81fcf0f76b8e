/* quic_kit - the ClientHello of the RFCs (for example.com) in frames and packets of all kinds. */
#pragma once
#include "datagram_kit.h"
#include "quic_seal.h"

#define DCID        "\x83\x94\xc8\xf0\x3e\x51\x57\x08"
#define HELLO_LEN   241
#define FRAMES_MAX  4096
#define CRYPTO_HEAD 5

/* The CRYPTO frame of RFC 9001 A.2 and RFC 9369 A.2. */
static const char rfc_frame[] = "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868"
				"04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578"
				"616d706c652e636f6dff01000100000a00080006001d00170018001000070005"
				"04616c706e000500050100000000003300260024001d00209370b2c9caa47fba"
				"baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400"
				"0d0010000e0403050306030203080408050806002d00020101001c0002400100"
				"3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000"
				"75300901100f088394c8f03e51570806048000ffff";

static const struct quic_seal seal_v1 = { QUIC_V1, DCID, NULL, 0, 1 };
static uint8_t hello[HELLO_LEN];

static inline int quic_setup(void **state)
{
	uint8_t frame[FRAMES_MAX];

	assert_int_equal(from_hex(rfc_frame, frame), 4 + HELLO_LEN);
	memcpy(hello, frame + 4, HELLO_LEN);
	return 0;
}

/* A CRYPTO frame of @len bytes of @data that stand at @offset; the length of it. */
static inline size_t put_crypto(uint8_t *out, size_t offset, const uint8_t *data, size_t len)
{
	out[0] = 6;
	out[1] = (uint8_t)(0x40 | offset >> 8);
	out[2] = (uint8_t)offset;
	out[3] = (uint8_t)(0x40 | len >> 8);
	out[4] = (uint8_t)len;
	memmove(out + CRYPTO_HEAD, data, len);
	return CRYPTO_HEAD + len;
}

static inline size_t put_hello(uint8_t *out, size_t from, size_t to)
{
	return put_crypto(out, from, hello + from, to - from);
}

/* A datagram of one packet with @frames, padded to what can be sampled. */
static inline enum sniff_result feed_sealed(struct sniff_datagrams **state,
					    const struct quic_seal *seal, const uint8_t *frames,
					    size_t len, struct sniff *ret)
{
	uint8_t packet[QUIC_SEAL_MAX], padded[FRAMES_MAX] = { 0 };

	memcpy(padded, frames, len);
	len = quic_seal(seal, padded, len < 20 ? 20 : len, packet);
	return feed_to(state, packet, len, 0, ret);
}

static inline enum sniff_result feed_hex(const char *hex)
{
	struct sniff_datagrams *state = NULL;
	uint8_t frames[FRAMES_MAX];
	enum sniff_result result = feed_sealed(&state, &seal_v1, frames, from_hex(hex, frames),
					       NULL);

	sniff_datagrams_free(state);
	return result;
}
