/* QUIC Initials: the vectors of RFC 9001 A and RFC 9369 A, packets sealed here, and captured ones.
 * */
#include "quic_kit.h"
#include "proto/quic.h"

#define OTHER_DCID "\x01\x02\x03\x04\x05\x06\x07\x08"
#define PAYLOAD    1162

static const struct {
	uint32_t version;
	const char *key, *iv, *hp, *header, *sample, *tag;
} rfc[] = {
	{ QUIC_V1, "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c",
	  "9f50449e04a0e810283a1e9933adedd2", "c000000001088394c8f03e5157080000449e7b9aec34",
	  "d1b1c98dd7689fb8ec11d242b123dc9b", "e221af44860018ab0856972e194cd934" },
	{ QUIC_V2, "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f",
	  "45b95e15235d6f45a6b19cbcb0294ba9", "d76b3343cf088394c8f03e5157080000449ea0c95e82",
	  "ffe67b6abcdb4298b485dd04de806071", "a18b2faa745b6fe189cf772a9f84cbfc" },
};

static size_t rfc_packet(size_t i, uint8_t packet[QUIC_SEAL_MAX])
{
	const struct quic_seal seal = { rfc[i].version, DCID, NULL, 2, 4 };
	uint8_t payload[FRAMES_MAX] = { 0 };

	from_hex(rfc_frame, payload);
	return quic_seal(&seal, payload, PAYLOAD, packet);
}

static void assert_example_com(const struct sniff *sniff)
{
	assert_int_equal(sniff->protocol, PROTOCOL_QUIC);
	assert_string_equal(sniff->domain, "example.com");
	assert_string_equal(sniff->client, "");
}

static void assert_hex(const uint8_t *data, const char *hex)
{
	uint8_t wanted[FRAMES_MAX];
	size_t len = from_hex(hex, wanted);

	assert_memory_equal(data, wanted, len);
}

static void test_rfc_keys(void **state)
{
	struct quic_keys keys;

	for (size_t i = 0; i < ARRAY_SIZE(rfc); i++) {
		assert_true(quic_keys_derive(rfc[i].version, (const uint8_t *)DCID, 8, &keys));
		assert_hex(keys.key, rfc[i].key);
		assert_hex(keys.iv, rfc[i].iv);
		assert_hex(keys.hp, rfc[i].hp);
	}
	assert_false(quic_keys_derive(0xff00001d, (const uint8_t *)DCID, 8, &keys));
}

/* Sealed as in the RFC: the tag is over all of it. */
static void test_rfc_packets(void **state)
{
	uint8_t packet[QUIC_SEAL_MAX];
	struct sniff sniff;

	for (size_t i = 0; i < ARRAY_SIZE(rfc); i++) {
		assert_int_equal(rfc_packet(i, packet), 1200);
		assert_hex(packet, rfc[i].header);
		assert_hex(packet + 22, rfc[i].sample);
		assert_hex(packet + 1200 - QUIC_TAG_SIZE, rfc[i].tag);
		assert_int_equal(feed(packet, 1200, 0, &sniff), SNIFF_YES);
		assert_example_com(&sniff);
		assert_int_equal(feed(packet, 1200, 1U << PROTOCOL_QUIC, &sniff), SNIFF_YES);
		assert_int_equal(feed(packet, 1200, ~(1U << PROTOCOL_QUIC), NULL), SNIFF_NO);
	}
}

static void test_packet_number(void **state)
{
	static const struct {
		uint64_t expected, truncated;
		unsigned bits;
		uint64_t number;
	} cases[] = {
		{ 0xa82f30eb, 0x9b32, 16, 0xa82f9b32 }, /* RFC 9000 A.3 */
		{ 0, 0, 8, 0 },
		{ 0, 255, 8, 255 },
		{ 1, 0, 8, 0 },
		{ 256, 255, 8, 255 },
		{ 255, 0, 8, 256 },
		{ 200, 100, 8, 100 },
		{ 128, 0, 8, 256 },
		{ 127, 0, 8, 0 },
		{ 5, 0xffffffff, 32, 0xffffffff },
		{ 300, 45, 8, 301 },
		{ 0x1ff, 0xff, 8, 0x1ff },
		{ (1ULL << 62) - 1, 0, 8, (1ULL << 62) - 256 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(
			quic_packet_number(cases[i].expected, cases[i].truncated, cases[i].bits),
			cases[i].number);
}

/* Numbers that only the ones before them tell. */
static void test_numbers_go_on(void **state)
{
	struct quic_seal seal = { QUIC_V1, DCID, NULL, 200, 1 };
	struct sniff_datagrams *datagrams = NULL;
	uint8_t frames[FRAMES_MAX];
	struct sniff sniff;
	size_t len = put_hello(frames, 0, 100);

	assert_int_equal(feed_sealed(&datagrams, &seal, frames, len, NULL), SNIFF_MORE);
	seal.number = 300;
	len = put_hello(frames, 100, 200);
	assert_int_equal(feed_sealed(&datagrams, &seal, frames, len, NULL), SNIFF_MORE);
	seal.number = 250; /* late */
	len = put_hello(frames, 200, HELLO_LEN);
	assert_int_equal(feed_sealed(&datagrams, &seal, frames, len, &sniff), SNIFF_YES);
	assert_example_com(&sniff);
	sniff_datagrams_free(datagrams);
}

static void test_coalesced(void **state)
{
	/* 0-RTT and handshake, which are skipped by their length */
	static const char others[] = "d0 00000001 08 0102030405060708 00 04 01020304"
				     "e0 00000001 08 0102030405060708 00 02 0102";
	uint8_t datagram[3 * QUIC_SEAL_MAX], frames[FRAMES_MAX] = { 0 };
	struct quic_seal seal = seal_v1;
	struct sniff sniff;
	size_t at, first;

	at = first = quic_seal(&seal, frames, put_hello(frames, 120, HELLO_LEN), datagram);
	at += from_hex(others, datagram + at);
	assert_int_equal(feed(datagram, at, 0, NULL), SNIFF_MORE);
	seal.number = 1;
	at += quic_seal(&seal, frames, put_hello(frames, 0, 120), datagram + at);
	assert_int_equal(feed(datagram, at, 0, &sniff), SNIFF_YES);
	assert_example_com(&sniff);
	at += from_hex("00*30", datagram + at); /* padding behind the packets */
	assert_int_equal(feed(datagram, at, 0, NULL), SNIFF_YES);
	assert_int_equal(feed(datagram + first, at - first, 0, NULL), SNIFF_MORE);
	datagram[first] = 0xf0; /* a Retry has no length: what is behind it cannot be found */
	assert_int_equal(feed(datagram, at, 0, NULL), SNIFF_MORE);
}

static void test_more_packets_than_are_looked_at(void **state)
{
	static const char other[] = "d0 00000001 00 00 01 00";
	uint8_t datagram[QUIC_SEAL_MAX + 8 * 16];

	for (size_t others = 0; others <= 8; others++) {
		size_t at = 0;

		for (size_t i = 0; i < others; i++)
			at += from_hex(other, datagram + at);
		at += rfc_packet(0, datagram + at);
		assert_int_equal(feed(datagram, at, 0, NULL), others < 8 ? SNIFF_YES : SNIFF_NO);
	}
}

/* In pieces of each size, from the last to the first, with as much again of the piece after it, and
 * other frames in between. */
static void test_pieces(void **state)
{
	static const char between[] = "01 00 01  02 05 00 01 01 00 02  03 4005 00 00 01 01 02 03"
				      "1c 00 06 03 616263";

	for (size_t size = 3; size <= HELLO_LEN; size++) {
		struct sniff_datagrams *datagrams = NULL;
		uint8_t frames[FRAMES_MAX];
		struct sniff sniff;
		size_t len = 0;

		for (size_t from = (HELLO_LEN - 1) / size * size;; from -= size) {
			size_t to = from + 2 * size < HELLO_LEN ? from + 2 * size : HELLO_LEN;

			len += put_hello(frames + len, from, to);
			len += from_hex(between, frames + len);
			if (!from)
				break;
		}
		assert_int_equal(feed_sealed(&datagrams, &seal_v1, frames, len, &sniff), SNIFF_YES);
		assert_example_com(&sniff);
		assert_null(datagrams);
	}
}

/* What the client changes on the way: @then is the second of two datagrams. */
static enum sniff_result change(const struct quic_seal *first, const struct quic_seal *then)
{
	struct sniff_datagrams *datagrams = NULL;
	uint8_t frames[FRAMES_MAX];
	enum sniff_result result;
	struct sniff sniff;
	size_t len = put_hello(frames, 100, HELLO_LEN);

	assert_int_equal(feed_sealed(&datagrams, first, frames, len, NULL), SNIFF_MORE);
	len = put_hello(frames, 0, 100);
	result = feed_sealed(&datagrams, then, frames, len, &sniff);
	if (result == SNIFF_YES)
		assert_example_com(&sniff);
	sniff_datagrams_free(datagrams);
	return result;
}

static void test_changes(void **state)
{
	const struct quic_seal same = { QUIC_V1, DCID, NULL, 1, 2 };
	const struct quic_seal answered = { QUIC_V1, OTHER_DCID, DCID, 1, 3 };
	const struct quic_seal retried = { QUIC_V1, OTHER_DCID, NULL, 1, 1 };
	const struct quic_seal version = { QUIC_V2, OTHER_DCID, DCID, 1, 1 };
	const struct quic_seal other = { QUIC_V1, DCID, "another", 1, 1 };

	assert_int_equal(change(&seal_v1, &same), SNIFF_YES);
	assert_int_equal(change(&seal_v1, &answered), SNIFF_YES);
	assert_int_equal(change(&seal_v1, &retried), SNIFF_YES);
	assert_int_equal(change(&seal_v1, &version), SNIFF_YES); /* RFC 9368 */
	assert_int_equal(change(&seal_v1, &other), SNIFF_MORE);  /* of somebody else */
}

/* With some in between that would be something else, were they the first. */
static void test_datagrams_are_bounded(void **state)
{
	uint8_t stun[20];

	from_hex("0001 0000 2112a442 00*11", stun);
	assert_int_equal(feed(stun, sizeof(stun), 0, NULL), SNIFF_YES);
	for (size_t before = 1; before <= QUIC_DATAGRAMS_MAX; before++) {
		struct sniff_datagrams *datagrams = NULL;
		uint8_t frames[FRAMES_MAX];
		size_t len = put_hello(frames, 0, 100);

		for (size_t i = 1; i <= before; i++) {
			enum sniff_result result =
				i % 2 ? feed_sealed(&datagrams, &seal_v1, frames, len, NULL)
				      : feed_to(&datagrams, stun, i % 4 ? 0 : 20, 0, NULL);

			assert_int_equal(result, i < QUIC_DATAGRAMS_MAX ? SNIFF_MORE : SNIFF_NO);
		}
		len = put_hello(frames, 100, HELLO_LEN);
		assert_int_equal(feed_sealed(&datagrams, &seal_v1, frames, len, NULL),
				 before < QUIC_DATAGRAMS_MAX ? SNIFF_YES : SNIFF_NO);
		sniff_datagrams_free(datagrams);
	}
}

/* A hello of @len bytes, filled up by an extension, in as many datagrams as it takes. */
static enum sniff_result feed_long_hello(size_t len)
{
	uint8_t *message = calloc(1, len), frames[FRAMES_MAX];
	struct sniff_datagrams *datagrams = NULL;
	enum sniff_result result = SNIFF_MORE;
	size_t more = len - HELLO_LEN, extensions = 192 + more;

	memcpy(message, hello, HELLO_LEN);
	message[1] = (uint8_t)((len - 4) >> 16);
	message[2] = (uint8_t)((len - 4) >> 8);
	message[3] = (uint8_t)(len - 4);
	message[47] = (uint8_t)(extensions >> 8);
	message[48] = (uint8_t)extensions;
	message[HELLO_LEN] = message[HELLO_LEN + 1] = 0xfa; /* nobody's */
	message[HELLO_LEN + 2] = (uint8_t)((more - 4) >> 8);
	message[HELLO_LEN + 3] = (uint8_t)(more - 4);
	for (size_t at = 0; at < len && result == SNIFF_MORE; at += 3000) {
		size_t n = put_crypto(frames, at, message + at, len - at < 3000 ? len - at : 3000);

		result = feed_sealed(&datagrams, &seal_v1, frames, n, NULL);
	}
	sniff_datagrams_free(datagrams);
	free(message);
	return result;
}

static void test_hello_is_bounded(void **state)
{
	assert_int_equal(feed_long_hello(HELLO_LEN + 4), SNIFF_YES);
	assert_int_equal(feed_long_hello(QUIC_CRYPTO_MAX), SNIFF_YES);
	assert_int_equal(feed_long_hello(QUIC_CRYPTO_MAX + 1), SNIFF_NO);
	assert_int_equal(feed_hex("06 00 04 01 003ff7"), SNIFF_MORE);
	assert_int_equal(feed_hex("06 00 04 01 003ff8"), SNIFF_NO);
	assert_int_equal(feed_hex("06 00 04 01 ffffff"), SNIFF_NO);
	assert_int_equal(feed_hex("06 7ffa 01 00"), SNIFF_MORE);
	assert_int_equal(feed_hex("06 7ffa 02 0000"), SNIFF_NO);
	assert_int_equal(feed_hex("06 80003ffb 01 00"), SNIFF_NO);
	assert_int_equal(feed_hex("06 ffffffffffffffff 01 00"), SNIFF_NO);
}

static void test_packets_are_bounded(void **state)
{
	uint8_t packet[QUIC_SEAL_MAX], frames[QUIC_SEAL_MAX] = { 0 };
	const size_t fits = 4096 - 19 - QUIC_TAG_SIZE;

	put_hello(frames, 0, HELLO_LEN);
	assert_int_equal(quic_seal(&seal_v1, frames, fits, packet), 4096);
	assert_int_equal(feed(packet, 4096, 0, NULL), SNIFF_YES);
	assert_int_equal(quic_seal(&seal_v1, frames, fits + 1, packet), 4097);
	assert_int_equal(feed(packet, 4097, 0, NULL), SNIFF_NO);
}

static void test_frames(void **state)
{
	static const char *const fine[] = {
		"00",
		"01",
		"06 05 00",
		"06 05 01 aa",
		"06 00 01 01 06 00 02 0100",
		"02 00 00 00 00",
		"02 00 00 02 00 01 01 01 01",
		"03 00 00 00 00 00 00 00",
		"1c 00 00 00",
		"4000 4001" /* a longer way to say it */,
	};
	static const char *const broken[] = {
		"06 00 01 02",                   /* another message than a ClientHello */
		"06 00 04 01000002 06 02 01 01", /* twice and not the same */
		"08 00",
		"04 00 00 00",
		"1d 00 00",
		"10 00",
		"1e",
		"07 00",
		"21",
		"ffffffffffffffff",
		"00*19 06",
		"00*16 06 00 05 010000", /* cut short */
		"00*14 02 00 00 ffffffffffffffff 00",
		"00*16 03 00 00 00 00",
		"00*16 1c 00 00 05 00",
		"00*19 40",
		"00*17 06 00 ffffffffffffffff",
	};

	for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
		if (feed_hex(fine[i]) != SNIFF_MORE)
			fail_msg("refused: %s", fine[i]);
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++)
		if (feed_hex(broken[i]) != SNIFF_NO)
			fail_msg("taken: %s", broken[i]);
}

static void test_not_initials(void **state)
{
	static const char *const cases[] = {
		/* the server's, RFC 9369 A.3 and A.4 */
		"dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698"
		"baeea26b91eb761d9b89237bbf87263017915358230035f7fd3945d88965cf17"
		"f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2"
		"c984c707f0a0812d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca8"
		"4bed8521e2e140",
		"cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6",
		"80 00000000 00 00 00000001 6b3343cf", /* a version negotiation */
		"c0 0a1a2a3a 08 0102030405060708 00 00 449e 00*1181",
		"d0 00000001 08 0102030405060708 00 04 01020304", /* 0-RTT */
		"c0 00000001 15 00*20 00 00 449e 00*1181",        /* a longer ID */
		"c0 00000001 08 0102030405060708 00 00 13 00*18", /* nothing to sample */
		"80 00000001 08 0102030405060708 00 00 449e 00*1181",
		"40 00*40",
	};
	uint8_t data[FRAMES_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(feed(data, from_hex(cases[i], data), 1U << PROTOCOL_QUIC, NULL),
				 SNIFF_NO);
}

/* Nothing of a packet can be changed without notice. */
static void test_prefixes_and_mutants(void **state)
{
	uint64_t deadline = clock_ms() + FAST_MS;
	uint8_t packet[QUIC_SEAL_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(rfc); i++) {
		size_t len = rfc_packet(i, packet);

		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(feed(packet, cut, 0, NULL), SNIFF_NO);
		for (size_t at = 0; at < len * 3; at++) {
			uint8_t mask = (uint8_t)(0xff01 >> (4 * (at % 3)));

			packet[at / 3] ^= mask;
			assert_int_equal(feed(packet, len, 0, NULL), SNIFF_NO);
			packet[at / 3] ^= mask;
		}
	}
	assert_true(clock_ms() < deadline);
}

/* The frames are another matter: whoever sends them can seal them. */
static void test_mutants_of_frames(void **state)
{
	uint64_t deadline = clock_ms() + FAST_MS;
	uint8_t frames[FRAMES_MAX];
	size_t len = put_hello(frames, 100, HELLO_LEN);

	len += from_hex("01 02 05 00 01 01 00 02 1c 00 06 03 616263", frames + len);
	len += put_hello(frames + len, 0, 120);
	for (size_t at = 0; at < len * 8; at++) {
		struct sniff_datagrams *datagrams = NULL;

		frames[at / 8] ^= (uint8_t)(1U << at % 8);
		(void)feed_sealed(&datagrams, &seal_v1, frames, len, NULL);
		sniff_datagrams_free(datagrams);
		datagrams = NULL;
		(void)feed_sealed(&datagrams, &seal_v1, frames, 20 + at % (len - 20), NULL);
		sniff_datagrams_free(datagrams);
		frames[at / 8] ^= (uint8_t)(1U << at % 8);
	}
	assert_true(clock_ms() < deadline);
}

/* A file of tests/fuzz/corpus/quic: see tests/fuzz/quic.c. */
static enum sniff_result replay(const char *name, struct sniff *ret, size_t *ret_count)
{
	struct quic_seal seal = seal_v1;
	struct sniff_datagrams *datagrams = NULL;
	enum sniff_result result = SNIFF_MORE;
	uint8_t data[CORPUS_MAX];
	size_t size = read_corpus(name, data), at = 0;

	*ret_count = 0;
	while (at + 2 <= size && result == SNIFF_MORE) {
		size_t len = (size_t)(data[at] & 0x7f) << 8 | data[at + 1];
		bool sealed = data[at] & 0x80;

		at += 2;
		assert_true(len <= size - at);
		result = sealed ? feed_sealed(&datagrams, &seal, data + at, len, ret)
				: feed_to(&datagrams, data + at, len, 0, ret);
		at += len;
		seal.number++;
		++*ret_count;
	}
	sniff_datagrams_free(datagrams);
	return result;
}

static void test_corpus(void **state)
{
	static const struct {
		const char *file, *domain;
		size_t count;
	} files[] = {
		{ "quic/v2", "example.com", 1 }, /* RFC 9369 A.2 */
		/* of ngtcp2's client */
		{ "quic/v1", "quic.example.org", 1 },
		{ "quic/two_datagrams", "big.example.org", 2 },
		{ "quic/two_datagrams_swapped", "big.example.org", 2 },
		{ "quic/retry", "retry.example.org", 3 }, /* the second datagram was lost */
		{ "quic/frames", "example.com", 3 },
	};
	struct sniff sniff = { 0 };
	size_t count;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (replay(files[i].file, &sniff, &count) != SNIFF_YES)
			fail_msg("not known: %s, after %zu", files[i].file, count);
		assert_int_equal(sniff.protocol, PROTOCOL_QUIC);
		assert_string_equal(sniff.domain, files[i].domain);
		assert_int_equal(count, files[i].count);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc_keys),
		cmocka_unit_test(test_rfc_packets),
		cmocka_unit_test(test_packet_number),
		cmocka_unit_test(test_numbers_go_on),
		cmocka_unit_test(test_coalesced),
		cmocka_unit_test(test_more_packets_than_are_looked_at),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_datagrams_are_bounded),
		cmocka_unit_test(test_hello_is_bounded),
		cmocka_unit_test(test_packets_are_bounded),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_not_initials),
		cmocka_unit_test(test_prefixes_and_mutants),
		cmocka_unit_test(test_mutants_of_frames),
		cmocka_unit_test(test_corpus),
	};

	return cmocka_run_group_tests(tests, quic_setup, NULL);
}
