#include "proto/quic.h"
#include <string.h>

#define PACKETS_MAX 8    /* looked at in a datagram: an opening costs two derivations */
#define PACKET_MAX  4096 /* clients send Initials before they know the MTU of the path */
#define NUMBER_MAX  4    /* bytes */

enum packet_type { INITIAL, ZERO_RTT, HANDSHAKE, RETRY };

enum frame_type {
	FRAME_PADDING,
	FRAME_PING,
	FRAME_ACK,
	FRAME_ACK_ECN,
	FRAME_CRYPTO = 0x06,
	FRAME_CLOSE = 0x1c,
};

struct reader {
	const uint8_t *at;
	size_t left;
	bool failed; /* something was not there; all later reads fail, too */
};

struct packet {
	enum packet_type type;
	uint32_t version;
	struct quic_cid dcid;
	const uint8_t *start;
	size_t number_at; /* of the packet number, from @start */
	size_t len;
};

static const uint8_t *take(struct reader *in, uint64_t len)
{
	const uint8_t *at = in->at;

	if (in->failed || len > in->left) {
		in->failed = true;
		return NULL;
	}
	in->at += len;
	in->left -= len;
	return at;
}

static uint64_t take_number(struct reader *in, size_t len)
{
	const uint8_t *bytes = take(in, len);
	uint64_t number = 0;

	for (size_t i = 0; bytes && i < len; i++)
		number = number << 8 | bytes[i];
	return number;
}

/* A variable-length integer (RFC 9000 16). */
static uint64_t take_varint(struct reader *in)
{
	unsigned power = in->left ? in->at[0] >> 6 : 0;

	return take_number(in, 1U << power) & (UINT64_MAX >> (66 - (8U << power)));
}

static void take_cid(struct reader *in, struct quic_cid *ret)
{
	uint64_t len = take_number(in, 1);
	const uint8_t *bytes = take(in, len);

	if (!bytes || len > QUIC_CID_MAX) {
		in->failed = true;
		return;
	}
	ret->len = (uint8_t)len;
	memcpy(ret->bytes, bytes, len);
}

/* One packet with a long header off @in; false: it is not one of a known version, and the rest of
 * the datagram cannot be told apart. */
static bool take_packet(struct reader *in, struct packet *ret)
{
	struct quic_cid scid;
	uint64_t first;

	ret->start = in->at;
	first = take_number(in, 1);
	ret->version = (uint32_t)take_number(in, 4);
	if (in->failed || (first & 0xc0) != 0xc0 ||
	    (ret->version != QUIC_V1 && ret->version != QUIC_V2))
		return false;
	ret->type = (enum packet_type)(first >> 4 & 3);
	if (ret->version == QUIC_V2) /* counts them from RETRY on */
		ret->type = (ret->type + 3) & 3;
	take_cid(in, &ret->dcid);
	take_cid(in, &scid);
	if (ret->type == INITIAL)
		take(in, take_varint(in)); /* the token */
	if (ret->type == RETRY)
		return false;
	first = take_varint(in);
	ret->number_at = (size_t)(in->at - ret->start);
	take(in, first);
	ret->len = (size_t)(in->at - ret->start);
	return !in->failed;
}

uint64_t quic_packet_number(uint64_t expected, uint64_t truncated, unsigned bits)
{
	uint64_t window = 1ULL << bits, half = window / 2;
	uint64_t number = (expected & ~(window - 1)) | truncated;

	if (number + half <= expected && number < (1ULL << 62) - window)
		return number + window;
	if (number > expected + half && number >= window)
		return number - window;
	return number;
}

/* Opens @packet, a copy of an Initial at @clear, in place. */
static bool open_with(struct quic *quic, const struct packet *packet, const struct quic_cid *cid,
		      uint8_t *clear, struct reader *ret_frames)
{
	const uint8_t *sample = packet->start + packet->number_at + NUMBER_MAX;
	size_t number_len, header_len;
	uint8_t mask[QUIC_MASK_SIZE];
	struct quic_keys keys;
	uint64_t number = 0;

	if (!quic_keys_derive(packet->version, cid->bytes, cid->len, &keys))
		return false;
	memcpy(clear, packet->start, packet->len);
	quic_keys_mask(&keys, sample, mask);
	clear[0] ^= mask[0] & 0x0f;
	number_len = (clear[0] & 3U) + 1;
	header_len = packet->number_at + number_len;
	for (size_t i = 0; i < number_len; i++) {
		clear[packet->number_at + i] ^= mask[1 + i];
		number = number << 8 | clear[packet->number_at + i];
	}
	number = quic_packet_number(quic->next_number, number, 8 * (unsigned)number_len);
	if (!quic_keys_open(&keys, number, clear, header_len, packet->len, clear + header_len))
		return false;
	quic->cid = *cid;
	quic->opened = true;
	if (number >= quic->next_number)
		quic->next_number = number + 1;
	*ret_frames = (struct reader){ .at = clear + header_len,
				       .left = packet->len - header_len - QUIC_TAG_SIZE };
	return true;
}

static bool open_packet(struct quic *quic, const struct packet *packet, uint8_t clear[PACKET_MAX],
			struct reader *ret_frames)
{
	struct quic_cid known = quic->cid;

	if (packet->len > PACKET_MAX ||
	    packet->len < packet->number_at + NUMBER_MAX + QUIC_SAMPLE_SIZE)
		return false;
	if (quic->opened && open_with(quic, packet, &known, clear, ret_frames))
		return true;
	return open_with(quic, packet, &packet->dcid, clear, ret_frames);
}

static void skip_ack(struct reader *in, bool ecn)
{
	uint64_t ranges;

	take_varint(in); /* largest */
	take_varint(in); /* delay */
	ranges = take_varint(in);
	take_varint(in); /* the first range */
	for (uint64_t i = 0; i < ranges && !in->failed; i++) {
		take_varint(in);
		take_varint(in);
	}
	for (int i = 0; ecn && i < 3; i++)
		take_varint(in);
}

static bool take_crypto(struct quic *quic, struct reader *in)
{
	uint64_t offset = take_varint(in), len = take_varint(in);
	const uint8_t *data = take(in, len);

	return data && quic_crypto_add(&quic->crypto, offset, data, (size_t)len);
}

/* False: what may not be in an Initial (RFC 9000 12.4), or is cut short. */
static bool take_frame(struct quic *quic, struct reader *in)
{
	switch (take_varint(in)) {
	case FRAME_PADDING:
	case FRAME_PING:
		break;
	case FRAME_ACK:
		skip_ack(in, false);
		break;
	case FRAME_ACK_ECN:
		skip_ack(in, true);
		break;
	case FRAME_CRYPTO:
		return take_crypto(quic, in);
	case FRAME_CLOSE:
		take_varint(in); /* error */
		take_varint(in); /* type of the frame */
		take(in, take_varint(in));
		break;
	default:
		return false;
	}
	return !in->failed;
}

/* The Initials of a datagram into @quic; false: one that could be opened is broken. */
static bool take_datagram(struct quic *quic, struct reader *in)
{
	uint8_t clear[PACKET_MAX];
	struct packet packet;
	struct reader frames;

	for (int i = 0; i < PACKETS_MAX && in->left && take_packet(in, &packet); i++) {
		if (packet.type != INITIAL || !open_packet(quic, &packet, clear, &frames))
			continue;
		while (frames.left)
			if (!take_frame(quic, &frames))
				return false;
	}
	return true;
}

void quic_init(struct quic *quic)
{
	quic->datagrams = 0;
	quic->opened = false;
	quic->next_number = 0;
	quic->cid.len = 0;
	quic_crypto_init(&quic->crypto);
}

enum sniff_result quic_datagram(struct quic *quic, const uint8_t *data, size_t len,
				struct sniff *ret)
{
	struct reader in = { .at = data, .left = len };
	enum sniff_result result;
	struct tls_hello hello;

	if (quic->datagrams == QUIC_DATAGRAMS_MAX)
		return SNIFF_NO;
	quic->datagrams++;
	if (!take_datagram(quic, &in) || !quic->opened)
		return SNIFF_NO;
	result = quic_crypto_hello(&quic->crypto, &hello);
	if (result == SNIFF_MORE && quic->datagrams == QUIC_DATAGRAMS_MAX)
		return SNIFF_NO;
	if (result == SNIFF_YES) {
		*ret = (struct sniff){ .protocol = PROTOCOL_QUIC };
		memcpy(ret->domain, hello.domain, sizeof(ret->domain));
	}
	return result;
}
