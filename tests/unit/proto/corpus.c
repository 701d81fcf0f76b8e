/* What the fuzz targets start from, with their own checks, and what the files named here must say. */
#include <dirent.h>
#include "common.h"
/* NOLINTBEGIN(bugprone-suspicious-include): the targets all define one function */
#define LLVMFuzzerTestOneInput fuzz_tls_hello
#include "../../fuzz/tls_hello.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_tls_fragment
#include "../../fuzz/tls_fragment.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_http_head
#include "../../fuzz/http_head.c"
#undef LLVMFuzzerTestOneInput
#define LLVMFuzzerTestOneInput fuzz_stream
#include "../../fuzz/stream.c"
/* NOLINTEND(bugprone-suspicious-include) */

#define CORPUS TEST_DATA "/../../fuzz/corpus/"

static size_t read_file(const char *folder, const char *name, uint8_t *data, size_t size)
{
	char path[512];
	FILE *file;
	size_t len;

	snprintf(path, sizeof(path), CORPUS "%s/%s", folder, name);
	file = fopen(path, "re");
	assert_non_null(file);
	len = fread(data, 1, size, file);
	assert_true(len < size);
	fclose(file);
	return len;
}

static void replay(const char *folder, unsigned at_least,
		   int (*target)(const uint8_t *data, size_t size))
{
	static uint8_t data[32 * 1024];
	char path[512];
	struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), CORPUS "%s", folder);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		struct sniff sniff;
		size_t len;

		if (entry->d_name[0] == '.')
			continue;
		len = read_file(folder, entry->d_name, data, sizeof(data));
		(void)target(data, len);
		(void)sniff_stable(sniff_any, data, len, 1, &sniff);
		count++;
	}
	closedir(dir);
	assert_true(count >= at_least);
}

static void test_replay(void **state)
{
	replay("tls_hello", 12, fuzz_tls_hello);
	replay("tls_fragment", 9, fuzz_tls_fragment);
	replay("http_head", 6, fuzz_http_head);
	replay("stream", 8, fuzz_stream);
}

static void test_answers(void **state)
{
	static const struct {
		const char *folder, *name;
		enum protocol protocol; /* PROTOCOL_UNKNOWN: SNIFF_NO */
		const char *domain;
	} rows[] = {
		{ "tls_hello", "curl-resolve", PROTOCOL_TLS, "deep.label.example.org" },
		{ "tls_hello", "cut-at-dots", PROTOCOL_TLS, "www.example.com" },
		{ "tls_hello", "cut-in-lengths", PROTOCOL_TLS, "www.xn--e1afmkfd.xn--p1ai" },
		{ "tls_hello", "cut-in-name", PROTOCOL_TLS, "www.example.com" },
		{ "tls_hello", "large-key-share", PROTOCOL_TLS, "video.example.com" },
		{ "tls_hello", "openssl-alpn-private", PROTOCOL_TLS, "someone.github.io" },
		{ "tls_hello", "openssl-one-byte-label", PROTOCOL_TLS, "t.co" },
		{ "tls_hello", "python-none", PROTOCOL_TLS, "" },
		{ "tls_hello", "python-tls12", PROTOCOL_TLS, "mixed.example.co.uk" },
		{ "tls_hello", "python-tls13", PROTOCOL_TLS, "www.example.com" },
		{ "tls_hello", "with-early-data", PROTOCOL_TLS, "mixed.example.co.uk" },
		{ "http_head", "curl", PROTOCOL_HTTP, "plain.example.com" },
		{ "http_head", "curl-connect", PROTOCOL_HTTP, "tunnel.example.com" },
		{ "http_head", "curl-http2", PROTOCOL_HTTP, "" },
		{ "http_head", "curl-proxy", PROTOCOL_HTTP, "proxied.example.com" },
		{ "http_head", "folded", PROTOCOL_HTTP, "e.example" },
		{ "http_head", "http10", PROTOCOL_HTTP, "" },
		{ "stream", "bittorrent", PROTOCOL_BITTORRENT, "" },
		{ "stream", "dns", PROTOCOL_DNS, "www.example.com" },
		{ "stream", "rdp", PROTOCOL_RDP, "" },
		{ "stream", "rdp-plain", PROTOCOL_RDP, "" },
		{ "stream", "s7", PROTOCOL_UNKNOWN, "" },
		{ "stream", "ssh", PROTOCOL_SSH, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		static uint8_t data[32 * 1024];
		size_t len = read_file(rows[i].folder, rows[i].name, data, sizeof(data));
		struct sniff sniff = { 0 };
		enum sniff_result result = sniff_stable(sniff_any, data, len, 1, &sniff);

		if ((result == SNIFF_YES) != (rows[i].protocol != PROTOCOL_UNKNOWN))
			fail_msg("%s/%s: %d", rows[i].folder, rows[i].name, result);
		if (result != SNIFF_YES)
			continue;
		assert_int_equal(sniff.protocol, rows[i].protocol);
		assert_string_equal(sniff.domain, rows[i].domain);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
