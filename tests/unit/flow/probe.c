/* Probes: what is said to the server, what counts as an answer, what a proxy is owed. The dialer is the
 * test's own, its connection a pair of sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>
#include "flow/probe.h"

static struct rig {
	struct loop loop;
	struct dial_env env;
	struct probe_url url;
	struct target override;
	struct dial *dial; /* under way */
	int refuse;        /* start() says this, if it is not 0 */
	unsigned cancelled;
	int peer;
	struct probe *probe;
	unsigned done;
	struct probe_result result;
} rig;

static int fake_start(struct dial *dial)
{
	dial->call = "socket";
	if (rig.refuse)
		return rig.refuse;
	rig.dial = dial;
	return 0;
}

static void fake_cancel(struct dial *dial, bool reset)
{
	rig.dial = NULL;
	rig.cancelled++;
}

static const struct dialer_ops fake_ops = {
	.name = "fake", .dial_size = sizeof(struct dial), .start = fake_start, .cancel = fake_cancel
};
static const struct dialer fake = { .ops = &fake_ops };

static void on_probed(void *owner, const struct probe_result *result)
{
	assert_ptr_equal(owner, &rig);
	rig.probe = NULL;
	rig.result = *result;
	rig.done++;
}

static int begin(void)
{
	const struct probe_request request = { .env = &rig.env,
					       .dialer = &fake,
					       .url = &rig.url,
					       .override = &rig.override,
					       .done = on_probed,
					       .owner = &rig };
	const char *call;
	int r = probe_start(&rig.probe, &request, &call);

	assert_int_equal(rig.done, 0);
	if (r)
		assert_string_equal(call, "socket");
	return r;
}

static int setup(void **state)
{
	memset(&rig, 0, sizeof(rig));
	rig.peer = -1;
	assert_int_equal(loop_init(&rig.loop), 0);
	rig.env.loop = &rig.loop;
	assert_int_equal(probe_url_parse("http://web.test:8080/path?q#f", &rig.url), 0);
	return 0;
}

static int teardown(void **state)
{
	probe_cancel(rig.probe);
	assert_null(rig.dial);
	assert_true(timer_wheel_empty(&rig.loop.timers));
	assert_int_equal(rig.loop.io_count, 0);
	if (rig.peer >= 0)
		close(rig.peer);
	loop_deinit(&rig.loop);
	return 0;
}

static void never(struct loop_io *io)
{
	fail();
}

static void connected(struct dial_owed *owed)
{
	struct loop_io io = LOOP_IO_NULL;
	struct dial_result result = { .io = &io, .owed = owed };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(loop_io_init(&io, &rig.loop, pair[0], never), 0);
	rig.peer = pair[1];
	dial_finish(rig.dial, &result);
}

static void turn(void)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(&rig.loop, 5), 0);
}

static void say(const char *text)
{
	assert_int_equal(send(rig.peer, text, strlen(text), 0), strlen(text));
	turn();
}

#define HEAD                                                                   \
	"HEAD /path?q HTTP/1.1\r\nHost: web.test:8080\r\nUser-Agent: seam\r\n" \
	"Accept: */*\r\nConnection: close\r\n\r\n"

static void expect_said(const char *expected)
{
	char text[2048];
	ssize_t n = recv(rig.peer, text, sizeof(text) - 1, 0);

	assert_true(n > 0);
	text[n] = 0;
	assert_string_equal(text, expected);
}

static void expect_target(const char *address, const char *domain, in_port_t port)
{
	const struct target *target = &rig.dial->request.target;
	struct addr expected = { .port = port };

	if (address)
		assert_int_equal(addr_parse(address, port, &expected), 0);
	assert_true(addr_equal(&target->addr, &expected));
	assert_int_equal(target->addr.port, port);
	if (domain)
		assert_string_equal(target->domain, domain);
	else
		assert_null(target->domain);
}

/* What the outbound says is dialed, and asked for what the URL says. */
static void test_override(void **state)
{
	rig.override = (struct target){ .addr.port = 81 };
	assert_int_equal(begin(), 0);
	expect_target(NULL, "web.test", 81);
	probe_cancel(rig.probe);
	rig.override = (struct target){ .domain = "other.test" };
	assert_int_equal(begin(), 0);
	expect_target(NULL, "other.test", 8080);
	probe_cancel(rig.probe);
	assert_int_equal(addr_parse("10.0.0.1", 82, &rig.override.addr), 0);
	rig.override.domain = NULL;
	assert_int_equal(begin(), 0);
	expect_target("10.0.0.1", NULL, 82);
	connected(NULL);
	expect_said(HEAD);
}

static void test_good(void **state)
{
	assert_int_equal(begin(), 0);
	expect_target(NULL, "web.test", 8080);
	rig.loop.now_ms += 40;
	connected(NULL);
	expect_said(HEAD);
	say("HTTP/1.1 4");
	assert_int_equal(rig.done, 0);
	say("04 Not Found\r\nX: y\r\n");
	assert_int_equal(rig.done, 1);
	assert_int_equal(rig.result.err, 0);
	assert_int_equal(rig.result.status, 404);
}

/* To the first byte, not to the last of the line. */
static void test_time(void **state)
{
	uint64_t began;

	assert_int_equal(begin(), 0);
	began = rig.loop.now_ms;
	connected(NULL);
	usleep(30000);
	say("H");
	rig.loop.now_ms = began; /* not looked at any more */
	usleep(60000);
	say("TTP/1.0 200 OK\r\n");
	assert_int_equal(rig.done, 1);
	assert_in_range(rig.result.ms, 25, 85);
}

static void test_bad_answers(void **state)
{
	static const struct {
		const char *says; /* NULL: it hangs up */
		int err;
	} cases[] = {
		{ "HTTP/1.1 500 ", -EREMOTEIO },
		{ "HTTP/1.1 099 ", -EPROTO },
		{ "HTTP/1.1 2x0 ", -EPROTO },
		{ "HTTP/2.0 200 ", -EPROTO },
		{ "SSH-2.0-OpenSSH_9", -EPROTO },
		{ "HTTP/1.1x200 ", -EPROTO },
		{ NULL, -ECONNRESET },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		rig.done = 0;
		assert_int_equal(begin(), 0);
		connected(NULL);
		expect_said(HEAD);
		if (cases[i].says) {
			say(cases[i].says);
		} else {
			shutdown(rig.peer, SHUT_WR);
			turn();
		}
		assert_int_equal(rig.done, 1);
		if (rig.result.err != cases[i].err)
			fail_msg("%s: %d", cases[i].says, rig.result.err);
		assert_non_null(rig.result.call);
		close(rig.peer);
	}
	rig.peer = -1;
}

static void test_dial_fails(void **state)
{
	const struct dial_result result = { .err = -EHOSTUNREACH, .call = "connect" };

	assert_int_equal(begin(), 0);
	dial_finish(rig.dial, &result);
	assert_int_equal(rig.done, 1);
	assert_int_equal(rig.result.err, -EHOSTUNREACH);
	assert_string_equal(rig.result.call, "connect");
	rig.refuse = -EMFILE;
	rig.done = 0;
	assert_int_equal(begin(), -EMFILE);
}

static void test_limit(void **state)
{
	assert_int_equal(begin(), 0);
	timer_wheel_advance(&rig.loop.timers, rig.loop.now_ms + PROBE_LIMIT_MS - 1);
	assert_int_equal(rig.done, 0);
	timer_wheel_advance(&rig.loop.timers, rig.loop.now_ms + PROBE_LIMIT_MS + 1);
	assert_int_equal(rig.done, 1);
	assert_int_equal(rig.result.err, -ETIMEDOUT);
	assert_int_equal(rig.cancelled, 1);
}

static void test_cancel(void **state)
{
	assert_int_equal(begin(), 0);
	probe_cancel(rig.probe);
	assert_int_equal(rig.cancelled, 1);
	assert_int_equal(begin(), 0);
	connected(NULL);
	probe_cancel(rig.probe);
	rig.probe = NULL;
	turn();
	assert_int_equal(rig.done, 0);
}

/* "yes" or "no", one byte after the other. */
static enum handshake_result fake_answer(void *state, struct handshake_step *step)
{
	if (step->in[0] == 'n') {
		step->err = -ECONNREFUSED;
		step->why = "the proxy does not want to";
		return HANDSHAKE_REFUSED;
	}
	if (step->in_len < 3)
		return HANDSHAKE_MORE;
	step->eaten = 3;
	return HANDSHAKE_DONE;
}

static const struct handshake_ops fake_handshake = { .name = "fake", .answer = fake_answer };

static struct dial_owed *new_owed(const struct handshake_ops *ops)
{
	static const uint8_t hello[6] = { 'h', 'e', 'l', 'l', 'o', ' ' };
	struct dial_owed *owed = calloc(1, sizeof(*owed));

	assert_non_null(owed);
	memcpy(owed->header, hello, sizeof(hello));
	owed->header_len = sizeof(hello);
	owed->ops = ops;
	owed->state = malloc(1);
	return owed;
}

static void test_owed(void **state)
{
	assert_int_equal(begin(), 0);
	connected(new_owed(NULL));
	expect_said("hello " HEAD);
	say("HTTP/1.1 204 ");
	assert_int_equal(rig.result.status, 204);
}

static void test_owed_answer(void **state)
{
	assert_int_equal(begin(), 0);
	connected(new_owed(&fake_handshake));
	expect_said("hello " HEAD);
	say("ye");
	assert_int_equal(rig.done, 0);
	say("sHTTP/1.1 200 ");
	assert_int_equal(rig.done, 1);
	assert_int_equal(rig.result.status, 200);
}

static void test_owed_refused(void **state)
{
	assert_int_equal(begin(), 0);
	connected(new_owed(&fake_handshake));
	say("no");
	assert_int_equal(rig.done, 1);
	assert_int_equal(rig.result.err, -ECONNREFUSED);
	assert_string_equal(rig.result.call, "the proxy does not want to");
}

static void test_urls(void **state)
{
	static const char *const bad[] = {
		"",
		"http://",
		"http:///x",
		"https://a/",
		"ftp://a/",
		"http://a:0/",
		"http://a:65536/",
		"http://a:/",
		"http://a:8x/",
		"http://[::1/",
		"http://::1/",
		"http://[a]/",
		"http://u:p@a/",
		"http://a/b c",
		"http://a/\r\nX: y",
		"http://[::1]x:80/",
		"http://a:80:80/",
		"http://a/\x7f",
	};
	static const struct {
		const char *url, *host, *authority, *path;
		sa_family_t family;
		uint16_t port;
	} good[] = {
		{ "http://a.test", "a.test", "a.test", "/", AF_UNSPEC, 80 },
		{ "HTTP://a.test:81", "a.test", "a.test:81", "/", AF_UNSPEC, 81 },
		{ "http://a.test?x/y", "a.test", "a.test", "/?x/y", AF_UNSPEC, 80 },
		{ "http://192.0.2.1/x", "192.0.2.1", "192.0.2.1", "/x", AF_INET, 80 },
		{ "http://[2001:db8::1]:8080/", "2001:db8::1", "[2001:db8::1]:8080", "/", AF_INET6,
		  8080 },
	};
	char text[1200] = "http://a/";
	struct probe_url url;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (probe_url_parse(bad[i], &url) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(probe_url_parse(good[i].url, &url), 0);
		assert_string_equal(url.host, good[i].host);
		assert_string_equal(url.authority, good[i].authority);
		assert_string_equal(url.path, good[i].path);
		assert_int_equal(url.addr.family, good[i].family);
		assert_int_equal(url.addr.port, good[i].port);
	}
	memset(text + 9, 'x', 510);
	assert_int_equal(probe_url_parse(text, &url), 0);
	text[519] = 'x';
	assert_int_equal(probe_url_parse(text, &url), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_override, setup, teardown),
		cmocka_unit_test_setup_teardown(test_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dial_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owed_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_owed_refused, setup, teardown),
		cmocka_unit_test(test_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
