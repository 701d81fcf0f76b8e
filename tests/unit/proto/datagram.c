/* Datagrams of every protocol but QUIC, and what only looks like them. */
#include "datagram_kit.h"

#define HELLO_RANDOM "fefd 00*31 "
#define MUTATED_MAX  200
#define COOKIE       "2112a442"
#define ID           "0102030405060708090a0b0c"

static const struct {
	enum protocol protocol;
	const char *hex, *domain;
} good[] = {
	{ PROTOCOL_DNS,
	  "1234 0100 0001 0000 0000 0000 03777777 07 6578616d706c65 03 6f7267 00 0001 0001",
	  "www.example.org" },
	{ PROTOCOL_STUN, "0001 0000" COOKIE ID, "" },
	{ PROTOCOL_STUN, "0101 0008" COOKIE ID "8022 0004 61626364", "" },
	{ PROTOCOL_STUN, "3fff 0000" COOKIE ID "ff", "" }, /* more behind it */
	{ PROTOCOL_DTLS, "17 fefd 0001 000000000001 0004 01020304", "" },
	{ PROTOCOL_DTLS, "14 feff 0000 000000000001 0001 01", "" },
	{ PROTOCOL_DTLS, "19 fefd 0001 000000000001 aabb 0001 01", "" }, /* with a connection ID */
	{ PROTOCOL_DTLS, "16 fefd 0000 000000000000 0000", "" },
	/* a hello with a cookie and the name a.bc */
	{ PROTOCOL_DTLS,
	  "16 fefd 0000 000000000000 0048  01 00003c 0000 000000 00003c " HELLO_RANDOM
	  "00  03 aabbcc  0002 c02b  01 00  000d  0000 0009 0007 00 0004 612e6263",
	  "a.bc" },
	/* not all of it */
	{ PROTOCOL_DTLS,
	  "16 fefd 0000 000000000000 0048  01 00003c 0000 000000 00003b " HELLO_RANDOM
	  "00  03 aabbcc  0002 c02b  01 00  000d  0000 0009 0007 00 0004 612e6263",
	  "" },
	/* the longest that is read, and a longer one */
	{ PROTOCOL_DTLS,
	  "16 fefd 0000 000000000000 080c  01 000800 0000 000000 000800 " HELLO_RANDOM
	  "00  03 aabbcc  0002 c02b  01 00  07d1  0000 0009 0007 00 0004 612e6263 fafa 07c0 "
	  "00*1983",
	  "a.bc" },
	{ PROTOCOL_DTLS,
	  "16 fefd 0000 000000000000 080d  01 000801 0000 000000 000801 " HELLO_RANDOM
	  "00  03 aabbcc  0002 c02b  01 00  07d2  0000 0009 0007 00 0004 612e6263 fafa 07c1 "
	  "00*1984",
	  "" },
	/* half of it: a fragment */
	{ PROTOCOL_DTLS,
	  "16 fefd 0000 000000000000 0048  01 000078 0000 000000 00003c " HELLO_RANDOM
	  "00  03 aabbcc  0002 c02b  01 00  000d  0000 0009 0007 00 0004 612e6263",
	  "" },
	{ PROTOCOL_BITTORRENT, "41 00 1234 00000001 00000000 00100000 0001 0000", "" },
	{ PROTOCOL_BITTORRENT, "41 02 1234 00000001 00000000 00100000 0001 0000 00 08 00*7", "" },
	{ PROTOCOL_BITTORRENT, "01 01 1234 00000001 00000000 00100000 0002 0001 00 04 00000001 aa",
	  "" },
	{ PROTOCOL_BITTORRENT,
	  "21 02 1234 00000001 00000000 00100000 0001 0000 01 00 03 01 00 00 04 00*3", "" },
	{ PROTOCOL_BITTORRENT, "11 00 1234 00000001 00000000 00100000 0001 0000", "" },
	{ PROTOCOL_BITTORRENT, "31 00 1234 00000001 00000000 00000000 0001 0000", "" },
	{ PROTOCOL_BITTORRENT, "0000041727101980 00000000 01020304", "" },
	{ PROTOCOL_NTP, "23 00*38 e7c5a1b2 00000000", "" },
	{ PROTOCOL_NTP, "db 10 06 e9 00100000 00100000 00*27 e7c5a1b2 00000000", "" },
	{ PROTOCOL_NTP, "1b 00*46 00000001 00*14 01", "" }, /* with a MAC */
};

static const char *const bad[] = {
	"",
	"00",
	"1234 8100 0001 0000 0000 0000 00 0001 0001",  /* an answer */
	"0001 0000 2112a443 0102030405060708090a0b0c", /* another cookie */
	"4001 0000 2112a442 0102030405060708090a0b0c", /* a channel of TURN */
	"8001 0000 2112a442 0102030405060708090a0b0c",
	"0001 0004 2112a442 0102030405060708090a0b0c 000000", /* longer than it is */
	"0001 0002 2112a442 0102030405060708090a0b0c 0000",
	"16 fefd 0000 000000000000 0001", /* cut short */
	"16 fefc 0000 000000000000 0000",
	"16 0303 0000 000000000000 0000", /* TLS */
	"16 fdfd 0000 000000000000 0000",
	"13 fefd 0000 000000000000 0000",
	"1a fefd 0000 000000000000 0000",
	"16 fefd 0000 000000000000 00",
	"2f 1234 0000 000000000000 0000", /* DTLS 1.3 unified header */
	"01 000000 12345678 aa*139",      /* WireGuard */
	"04 000000 12345678 00*7 aa*31",
	"01 00 1234 00000001 00000000 00100000 0002 0001",    /* data without any */
	"21 00 1234 00000001 00000000 00100000 0002 0001 aa", /* a state with some */
	"41 00 1234 00000001 00000000 00100000 0002 0001 aa",
	"51 00 1234 00000001 00000000 00100000 0002 0001",       /* no such type */
	"42 00 1234 00000001 00000000 00100000 0002 0001",       /* nor version */
	"41 04 1234 00000001 00000000 00100000 0002 0001 00 00", /* nor extension */
	"41 01 1234 00000001 00000000 00100000 0002 0001",       /* cut short */
	"41 01 1234 00000001 00000000 00100000 0002 0001 00",
	"41 01 1234 00000001 00000000 00100000 0002 0001 00 01",
	"41 01 1234 00000001 00000000 00100000 0002 0001 01 00 01 00 01",
	"0000041727101980 00000001 01020304", /* an announce */
	"0000041727101981 00000000 01020304",
	"0000041727101980 00000000 010203",
	"24 00*46", /* an answer of a server */
	"2b 00*46",
	"13 00*46", /* versions 5, 2 */
	"23 11 00*45",
	"23 00*2 00100001 00*39", /* stratum, delay */
	"23 00*6 00100001 00*35", /* dispersion */
	"23 00*6 80000000 00*35",
	"23 00*45",
	"23 00*48",
	"ff*60",
	"00*600",
	"55*1400",
};

static void test_good(void **state)
{
	uint8_t data[CORPUS_MAX];
	struct sniff sniff;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		size_t len = from_hex(good[i].hex, data);
		uint32_t bit = 1U << good[i].protocol;

		if (feed(data, len, 0, &sniff) != SNIFF_YES)
			fail_msg("not known: %s", good[i].hex);
		assert_int_equal(sniff.protocol, good[i].protocol);
		assert_string_equal(sniff.domain, good[i].domain);
		assert_string_equal(sniff.client, "");
		assert_int_equal(feed(data, len, bit, &sniff), SNIFF_YES);
		assert_int_equal(sniff.protocol, good[i].protocol);
		assert_int_equal(feed(data, len, ~bit, NULL), SNIFF_NO);
	}
}

static void test_bad(void **state)
{
	uint8_t data[CORPUS_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (feed(data, from_hex(bad[i], data), 0, NULL) != SNIFF_NO)
			fail_msg("taken for something: %s", bad[i]);
}

/* Each prefix, and each byte as everything else it can be. Few may be known, none crash. */
static void test_mutants(void **state)
{
	uint64_t deadline = clock_ms() + FAST_MS;
	uint8_t data[CORPUS_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		size_t len = from_hex(good[i].hex, data);

		for (size_t cut = 0; cut < len; cut++)
			(void)feed(data, cut, 0, NULL);
		len = len < MUTATED_MAX ? len : MUTATED_MAX;
		for (size_t at = 0; at < len * 255; at++) {
			uint8_t mask = (uint8_t)(1 + at % 255);

			data[at / 255] ^= mask;
			(void)feed(data, len, 0, NULL);
			data[at / 255] ^= mask;
		}
	}
	assert_true(clock_ms() < deadline);
}

static void test_free_of_nothing(void **state)
{
	sniff_datagrams_free(NULL);
}

static void test_corpus(void **state)
{
	static const struct {
		const char *file;
		enum protocol protocol;
		const char *domain;
	} files[] = {
		{ "datagram/dtls_name", PROTOCOL_DTLS,
		  "dtls.example.org" }, /* of openssl s_client */
		{ "datagram/dtls_no_name", PROTOCOL_DTLS, "" },
		{ "datagram/quic", PROTOCOL_QUIC, "quic.example.org" },
		{ "datagram/stun", PROTOCOL_STUN, "" },
		{ "datagram/utp", PROTOCOL_BITTORRENT, "" },
		{ "datagram/tracker", PROTOCOL_BITTORRENT, "" },
		{ "datagram/ntp", PROTOCOL_NTP, "" },
		{ "datagram/dns", PROTOCOL_DNS, "www.example.org" },
	};
	uint8_t data[CORPUS_MAX];
	struct sniff sniff;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		size_t len = read_corpus(files[i].file, data);

		assert_int_equal(feed(data, len, 0, &sniff), SNIFF_YES);
		assert_int_equal(sniff.protocol, files[i].protocol);
		assert_string_equal(sniff.domain, files[i].domain);
		for (size_t at = 0; at < len * 8; at++) {
			data[at / 8] ^= (uint8_t)(1U << at % 8);
			(void)feed(data, len, 0, NULL);
			data[at / 8] ^= (uint8_t)(1U << at % 8);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_mutants),
		cmocka_unit_test(test_corpus),
		cmocka_unit_test(test_free_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
