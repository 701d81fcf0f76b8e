/* The parsers of streams, each with every prefix of its vectors, and all of them together. */
#include "hello.h"
#include "proto/dns_message.h"

#define INPUT(text) .data = (const uint8_t *)(text), .len = sizeof(text) - 1

struct vector {
	const uint8_t *data;
	size_t len;
	enum sniff_result want;
	size_t needs; /* bytes to be sure; 0: all of them */
	const char *domain, *client;
};

static void check(sniff_fn *sniff, enum protocol protocol, const struct vector *vectors,
		  size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct vector *v = &vectors[i];
		struct sniff ret = { 0 };

		if (v->want == SNIFF_MORE)
			assert_sniffs(sniff, v->data, v->len, v->len, SNIFF_MORE, &ret);
		else
			assert_sniffs(sniff, v->data, v->len, v->needs ? v->needs : v->len, v->want,
				      &ret);
		assert_int_equal(ret.protocol, v->want == SNIFF_YES ? protocol : PROTOCOL_UNKNOWN);
		assert_string_equal(ret.domain, v->domain ? v->domain : "");
		assert_string_equal(ret.client, v->client ? v->client : "");
	}
}

static void test_http(void **state)
{
	static const struct vector vectors[] = {
		{ INPUT("GET / HTTP/1.1\r\nHost: www.Example.com\r\n"), SNIFF_YES, 0,
		  "www.example.com" },
		{ INPUT("GET / HTTP/1.1\r\nA: b\r\nhOST:\t example.com:8080 \t\r\n"), SNIFF_YES, 0,
		  "example.com" },
		{ INPUT("GET / HTTP/1.1\nX\nHost:example.com.\n"), SNIFF_YES, 0, "example.com" },
		{ INPUT("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n"), SNIFF_YES,
		  33, "a.example" },
		{ INPUT("BREW coffee://h/pot HTTP/1.9\r\nHost: x.example\r\n\r\n"), SNIFF_YES, 30,
		  "h" },
		{ INPUT("M-SEARCH * HTTP/1.1\r\nHosts: no.example\r\nHost : no\r\n\r\n"),
		  SNIFF_YES },
		{ INPUT("GET / HTTP/1.0\r\n\r\nHost: body.example\r\n"), SNIFF_YES, 18 },
		{ INPUT("GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n"), SNIFF_YES },
		{ INPUT("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n"), SNIFF_YES },
		{ INPUT("GET / HTTP/1.1\r\nHost:\r\n"), SNIFF_YES },
		{ INPUT("GET / HTTP/1.1\r\nHost: a.example:x\r\n"), SNIFF_YES },
		{ INPUT("GET HTTP://u:p@Abs.example:81/?@q HTTP/1.1\r\nHost: h.example\r\n"),
		  SNIFF_YES, 44, "abs.example" },
		{ INPUT("GET http://192.0.2.1/ HTTP/1.1\r\nHost: h.example\r\n"), SNIFF_YES, 32 },
		{ INPUT("GET http://abs.example?x HTTP/1.1\r\n"), SNIFF_YES, 0, "abs.example" },
		{ INPUT("GET /http://not.example/ HTTP/1.1\r\nHost: h.example\r\n"), SNIFF_YES, 0,
		  "h.example" },
		{ INPUT("CONNECT c.example:443 HTTP/1.1\r\nHost: h.example\r\n"), SNIFF_YES, 32,
		  "c.example" },
		{ INPUT("CONNECT [::1]:443 HTTP/1.1\r\n"), SNIFF_YES },
		{ INPUT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"), SNIFF_YES, 24 },
		{ INPUT("PRI * HTTP/1.1\r\nHost: h.example\r\n"), SNIFF_YES, 0, "h.example" },
		{ INPUT("PRI * HTTP/2.0\r\nSM\r\n\r\n"), SNIFF_NO, 17 },
		{ INPUT("GET / HTTP/2.0\r\n"), SNIFF_NO, 12 },
		{ INPUT("GET / HTTP/1.x\r\n"), SNIFF_NO, 14 },
		{ INPUT("GET / HTTP/1.1 \r\n"), SNIFF_NO, 15 },
		{ INPUT("GET  / HTTP/1.1\r\n"), SNIFF_NO, 5 },
		{ INPUT("GET /\r\n"), SNIFF_NO, 6 },
		{ INPUT(" GET / HTTP/1.1\r\n"), SNIFF_NO, 1 },
		{ INPUT("G\xc3\x84T / HTTP/1.1\r\n"), SNIFF_NO, 2 },
		{ INPUT("G\0T / HTTP/1.1\r\n"), SNIFF_NO, 2 },
		{ INPUT("EHLO mail.example\r\n"), SNIFF_NO, 18 },
		{ INPUT("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n"), SNIFF_NO, 33 },
	};

	check(http_head_sniff, PROTOCOL_HTTP, vectors, ARRAY_SIZE(vectors));
}

/* The head counts up to 8 KiB, whatever is in it. */
static void test_http_long(void **state)
{
	static uint8_t data[9000];
	struct sniff sniff = { 0 };

	memset(data, 'a', sizeof(data));
	put_text(data, "GET / HTTP/1.1\r\nX: ");
	put_text(data + 8170, "\r\nHost: h.example"); /* its line does not end in time */
	put_text(data + 8187, ".test\r\n");
	assert_sniffs(http_head_sniff, data, sizeof(data), 8192, SNIFF_YES, &sniff);
	assert_string_equal(sniff.domain, "");
	memset(data, 'a', sizeof(data));
	put_text(data, "GET /");
	memset(&sniff, 0, sizeof(sniff));
	assert_sniffs(http_head_sniff, data, sizeof(data), 8192, SNIFF_NO, &sniff);
}

static void test_ssh(void **state)
{
	static uint8_t line[300];
	static const struct vector vectors[] = {
		{ INPUT("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\nbinary"), SNIFF_YES, 22, NULL,
		  "OpenSSH_9.2p1" },
		{ INPUT("SSH-1.99-x\r\n"), SNIFF_YES, 11, NULL, "x" },
		{ INPUT("SSH-2.0-libssh-0.1\n"), SNIFF_YES, 0, NULL, "libssh-0.1" },
		{ INPUT("SSH-2.0-\r\n"), SNIFF_YES, 9 },
		{ INPUT("SSH-1.5-x\r\n"), SNIFF_NO, 7 },
		{ INPUT("SSH-3"), SNIFF_NO },
		{ INPUT("SSH-2.0-a\0b\r\n"), SNIFF_NO, 10 },
		{ INPUT("ssh-2.0-x\r\n"), SNIFF_NO, 1 },
		{ INPUT("SSH-2.0-aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg "),
		  SNIFF_YES, 0, NULL,
		  "aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg" },
		{ .data = line, sizeof(line), SNIFF_NO, 255 },
	};

	memset(line, 'a', sizeof(line));
	put_text(line, "SSH-2.0-");
	check(ssh_sniff, PROTOCOL_SSH, vectors, ARRAY_SIZE(vectors));
}

static void test_bittorrent(void **state)
{
	static const struct vector vectors[] = {
		{ INPUT("\x13"
			"BitTorrent protocol\0\0\0"),
		  SNIFF_YES, 20 },
		{ INPUT("\x13"
			"BitTorrent protocoL"),
		  SNIFF_NO, 20 },
		{ INPUT("\x14"
			"BitTorrent"),
		  SNIFF_NO, 1 },
	};

	check(bittorrent_sniff, PROTOCOL_BITTORRENT, vectors, ARRAY_SIZE(vectors));
}

static void test_rdp(void **state)
{
	static const struct vector vectors[] = {
		{ INPUT("\3\0\0\x0b\6\xe0\0\0\0\0\0"), SNIFF_YES },
		{ INPUT("\3\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0more"), SNIFF_YES, 19 },
		{ INPUT("\3\0\0\x21\x1c\xe0\0\0\0\0\0Cookie: a=b\x0d\x0a\1\0\x08\0\3\0\0\0\0"),
		  SNIFF_YES, 33 },
		{ INPUT("\3\0\0\x18\x13\xe0\0\0\x12\x34\0Cookie: a=b\x0d\x0a"), SNIFF_YES },
		{ INPUT("\3\0\0\x18\x13\xe0\0\0\0\0\0Cookie: a=bcd"), SNIFF_NO },
		{ INPUT("\3\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x09\0\3\0\0\0"), SNIFF_NO },
		{ INPUT("\3\0\0\x12\x0d\xe0\0\0\0\0\0\1\0\x08\0\3\0\0"), SNIFF_NO },
		{ INPUT("\3\0\0\x0a\5\xe0\0\0\0\0"), SNIFF_NO, 4 },
		{ INPUT("\3\0\0\x0b\7\xe0\0\0\0\0\0"), SNIFF_NO, 5 },
		{ INPUT("\3\0\0\x0b\6\xd0\0\0\0\0\0"), SNIFF_NO, 6 },
		{ INPUT("\3\0\0\x0b\6\xe0\1"), SNIFF_NO, 7 },
		{ INPUT("\3\0\0\x0b\6\xe0\0\0\0\0\x20"), SNIFF_NO, 11 },
		{ INPUT("\3\0\1\x0b"), SNIFF_NO, 3 },
		{ INPUT("\3\1"), SNIFF_NO },
		{ INPUT("\2"), SNIFF_NO },
	};

	check(rdp_sniff, PROTOCOL_RDP, vectors, ARRAY_SIZE(vectors));
}

#define DNS_HEAD "\x12\x34\1\x20\0\1\0\0\0\0\0"
#define QUESTION "\3www\7Example\3com\0\0\1\0\1"

static void test_dns(void **state)
{
	static const struct vector vectors[] = {
		{ INPUT("\0\x21" DNS_HEAD "\0" QUESTION "more"), SNIFF_YES, 35, "www.example.com" },
		{ INPUT("\0\x2c" DNS_HEAD "\1" QUESTION "\0\0\x29\4\xd0\0\0\0\0\0\0"), SNIFF_YES, 0,
		  "www.example.com" },
		{ INPUT("\0\x11" DNS_HEAD "\0"
			"\0\0\2\0\1"),
		  SNIFF_YES },
		{ INPUT("\0\x21" DNS_HEAD "\1" QUESTION), SNIFF_NO },
		{ INPUT("\0\x20" DNS_HEAD "\0" QUESTION), SNIFF_NO, 34 },
		{ INPUT("\0\x22" DNS_HEAD "\0" QUESTION "\0"), SNIFF_NO },
		{ INPUT("\0\x10" DNS_HEAD), SNIFF_NO, 2 },
		{ INPUT("\x3f\xff" DNS_HEAD), SNIFF_NO, 2 },
		{ INPUT("\x3f\xfe" DNS_HEAD), SNIFF_MORE },
		{ INPUT("\0\x21\x12\x34\x81\x20\0\1\0\0"), SNIFF_NO, 5 },
	};

	check(dns_sniff_stream, PROTOCOL_DNS, vectors, ARRAY_SIZE(vectors));
}

static void test_dns_message(void **state)
{
	static const struct {
		const uint8_t *data;
		size_t len;
		const char *want; /* NULL: no */
	} queries[] = {
		{ BYTES(DNS_HEAD "\0" QUESTION), "www.example.com" },
		{ BYTES(DNS_HEAD "\0\0\0\2\0\1"), "" },
		{ BYTES(DNS_HEAD "\0\3a.b\3com\0\0\1\0\1"), "" },
		{ BYTES(DNS_HEAD "\0\3a\0b\3com\0\0\1\0\1"), "" },
		{ BYTES("\0\0\0\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1\1b\xc0\x0c\0\1\0\1"), "a" },
		{ BYTES("\0\0\0\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1\1b\xc0\x13\0\1\0\1"), NULL },
		{ BYTES("\0\0\0\0\0\2\0\0\0\0\0\0\1a\0\0\1\0\1\1b\xc0\x0b\0\1\0\1"), NULL },
		{ BYTES(DNS_HEAD "\0\1a\xc0\x0c\0\1\0\1"), NULL },
		{ BYTES(DNS_HEAD "\0\x40" QUESTION), NULL },
		{ BYTES("\0\0\0\0\0\0\0\0\0\0\0\0"), NULL },            /* no question */
		{ BYTES("\0\0\x80\0\0\1\0\0\0\0\0\0" QUESTION), NULL }, /* an answer */
		{ BYTES("\0\0\x28\0\0\1\0\0\0\0\0\0" QUESTION), NULL }, /* an update */
		{ BYTES("\0\0\0\1\0\1\0\0\0\0\0\0" QUESTION), NULL },
		{ BYTES("\0\0\0\0\0\1\0\1\0\0\0\0" QUESTION), NULL },
		{ BYTES("\0\0\0\0\xff\xff\0\0\0\0\0\0" QUESTION), NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(queries); i++)
		for (size_t n = 0; n <= queries[i].len; n++) {
			uint8_t *copy = test_malloc(n ? n : 1);
			char name[SNIFF_DOMAIN_MAX] = "before";
			bool want = n == queries[i].len && queries[i].want;

			memcpy(copy, queries[i].data, n);
			if (dns_message_is_query(copy, n, name) != want)
				fail_msg("query %zu with %zu bytes", i, n);
			assert_string_equal(name, want ? queries[i].want : "before");
			test_free(copy);
		}
}

/* 255 bytes with lengths and the root are the most a name may take. */
static void test_dns_long(void **state)
{
	for (size_t last = 59; last <= 62; last++) {
		uint8_t data[12 + 300] = { [5] = 1 };
		char name[SNIFF_DOMAIN_MAX];
		size_t at = 12;

		for (size_t i = 0; i < 4; i++) {
			size_t len = i < 3 ? 63 : last;

			data[at++] = (uint8_t)len;
			memset(data + at, 'a', len);
			at += len;
		}
		at += 5;
		assert_int_equal(dns_message_is_query(data, at, name), last <= 61);
		if (last <= 61)
			assert_int_equal(strlen(name), (size_t)192 + last);
	}
}

static enum sniff_result sniff_all(const uint8_t *data, size_t len, struct sniff *ret)
{
	return sniff_stream(data, len, 0, ret);
}

static enum sniff_result sniff_tls_ssh(const uint8_t *data, size_t len, struct sniff *ret)
{
	return sniff_stream(data, len, 1u << PROTOCOL_TLS | 1u << PROTOCOL_SSH, ret);
}

static void test_together(void **state)
{
	static const uint8_t get[] = "GET / HTTP/1.1\r\nHost: h.example\r\n";
	struct sniff sniff = { 0 };
	struct hello hello;

	hello_build(&hello,
		    &(struct hello_plan){ .name = "t.example", .size = 1800, .records = 3 });
	assert_sniffs(sniff_all, hello.data, hello.len, hello.len, SNIFF_YES, &sniff);
	assert_int_equal(sniff.protocol, PROTOCOL_TLS);
	assert_string_equal(sniff.domain, "t.example");
	assert_sniffs(sniff_tls_ssh, hello.data, hello.len, hello.len, SNIFF_YES, &sniff);
	assert_sniffs(sniff_all, get, sizeof(get) - 1, sizeof(get) - 1, SNIFF_YES, &sniff);
	assert_int_equal(sniff.protocol, PROTOCOL_HTTP);
	memset(&sniff, 0, sizeof(sniff));
	assert_sniffs(sniff_tls_ssh, get, sizeof(get) - 1, 1, SNIFF_NO, &sniff);
	assert_sniffs(sniff_all, BYTES("\xff\xff\xff"), 2, SNIFF_NO, &sniff);
	/* is as long as DNS at first, and SSH with a byte more than HTTP would need */
	assert_sniffs(sniff_all, BYTES("SSH-2.0-x / HTTP/1.1\r\n\r\n"), 10, SNIFF_YES, &sniff);
	assert_int_equal(sniff.protocol, PROTOCOL_SSH);
}

static void test_cap(void **state)
{
	static uint8_t data[SNIFF_STREAM_MAX + 64];
	struct sniff sniff = { 0 };
	struct hello hello, message;
	size_t ends[] = { 16000, 0 };

	for (size_t over = 0; over < 2; over++) { /* two headers */
		hello_message(&message,
			      &(struct hello_plan){ .name = "t.example",
						    .size = SNIFF_STREAM_MAX - 10 + over });
		ends[1] = message.len;
		hello_wrap(&hello, &message, ends, 2);
		assert_int_equal(hello.len, SNIFF_STREAM_MAX + over);
		assert_int_equal(sniff_all(hello.data, SNIFF_STREAM_MAX - 1, &sniff), SNIFF_MORE);
		memcpy(data, hello.data, hello.len);
		assert_int_equal(sniff_exact(sniff_all, data, SNIFF_STREAM_MAX, &sniff),
				 over ? SNIFF_NO : SNIFF_YES);
		assert_int_equal(sniff_exact(sniff_all, data, sizeof(data), &sniff),
				 over ? SNIFF_NO : SNIFF_YES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http),        cmocka_unit_test(test_http_long),
		cmocka_unit_test(test_ssh),         cmocka_unit_test(test_bittorrent),
		cmocka_unit_test(test_rdp),         cmocka_unit_test(test_dns),
		cmocka_unit_test(test_dns_message), cmocka_unit_test(test_dns_long),
		cmocka_unit_test(test_together),    cmocka_unit_test(test_cap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
