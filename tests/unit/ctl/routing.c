/* explain and outbounds: a server with rules and groups. The resolver is the test's own, the web server too. */
#include "base/log.h"
#include "dial/group.h"
#include "fake_resolver.h"
#include <arpa/inet.h>
#include <limits.h>

static unsigned delay_ms(void *owner, size_t outbound, size_t member)
{
	assert_ptr_equal(owner, &fix);
	assert_int_equal(outbound, 4);
	return fix.delays[member];
}

enum { FIBRE, PROXY, CHOICE, STOPPED, FASTEST, OUTBOUNDS };

static size_t choice_members[] = { PROXY, FIBRE, STOPPED }, fastest_members[] = { FIBRE, CHOICE };
static char *example[] = { (char *)"example.org" }, *named[] = { (char *)"name.test" },
	    *other[] = { (char *)"other.test" };
static struct config_ports dns_port = { 53, 53 }, proxy_port = { 8080, 8080 };
static uint32_t marked = 7;
static uint16_t server_first = 25;

static struct config_inbound inbounds[] = { { .tag = (char *)"in" }, { .tag = (char *)"guests" } };
static size_t guests = 1;

static struct config_rule rules[] = {
	{ .action = ACTION_SNIFF, .sniff = { .timeout_ms = 300, .override_destination = true } },
	{ .action = ACTION_ROUTE, .match.domain = { example, 1 }, .outbound = CHOICE },
	{ .action = ACTION_HIJACK_DNS, .match.ports = { &dns_port, 1 } },
	{ .action = ACTION_REJECT, .match.marks = { &marked, 1 }, .reject = REJECT_DROP },
	{ .action = ACTION_ROUTE_OPTIONS,
	  .match.ports = { &proxy_port, 1 },
	  .options = { .override_port = 80, .udp_connect = true } },
	{ .action = ACTION_RESOLVE,
	  .match.domain = { named, 1 },
	  .resolve = { .server = 1, .strategy = STRATEGY_IPV4_ONLY } },
	{ .action = ACTION_ROUTE, .match.inbounds = { &guests, 1 }, .outbound = STOPPED },
	{ .action = ACTION_ROUTE, .match.domain = { other, 1 }, .outbound = FASTEST },
};

static struct config_outbound outbounds[OUTBOUNDS] = {
	[FIBRE] = { .type = OUTBOUND_DIRECT,
		    .tag = (char *)"fibre",
		    .detour = CONFIG_NONE,
		    .connect_timeout_ms = 2000,
		    .dial_timeout_ms = 5000 },
	[PROXY] = { .type = OUTBOUND_SOCKS,
		    .tag = (char *)"proxy",
		    .detour = FIBRE,
		    .proxy = { .server = (char *)"192.0.2.1", .port = 1080 } },
	[CHOICE] = { .type = OUTBOUND_SELECTOR,
		     .tag = (char *)"choice",
		     .detour = CONFIG_NONE,
		     .group = { .members = { choice_members, 3 } } },
	[STOPPED] = { .type = OUTBOUND_BLOCK, .tag = (char *)"stopped", .detour = CONFIG_NONE },
	[FASTEST] = { .type = OUTBOUND_URLTEST,
		      .tag = (char *)"fastest",
		      .detour = CONFIG_NONE,
		      .group = { .members = { fastest_members, 2 },
				 .url = (char *)"http://127.0.0.1:9/x" } },
};

static struct config_dns_server servers[] = {
	{ .type = DNS_SERVER_LOCAL, .tag = (char *)"local", .detour = CONFIG_NONE },
	{ .type = DNS_SERVER_LOCAL, .tag = (char *)"inner", .detour = CONFIG_NONE },
};

static struct config config = { .workers = 1,
				.inbounds = inbounds,
				.inbound_count = 2,
				.outbounds = outbounds,
				.outbound_count = OUTBOUNDS,
				.dns = { .servers = servers, .server_count = 2 },
				.rules = { rules, sizeof(rules) / sizeof(*rules) },
				.server_first_ports = { &server_first, 1 },
				.limits = { .max_flows = 1000 } };

static int setup(void **state)
{
	log_set_level(LOG_ERROR);
	memset(&fix, 0, sizeof(fix));
	outbounds[FIBRE].bind_interface = NULL;
	outbounds[FIBRE].routing_mark = 0;
	kit_open_with(&fix.kit, &config, NULL, 0);
	fix.env = (struct dial_env){ .loop = &fix.kit.loop, .resolver = &fix.resolver };
	fix.kit.context.dial_env = &fix.env;
	fix.kit.context.delay_ms = delay_ms;
	fix.kit.context.delay_owner = &fix;
	kit_serve(&fix.kit);
	return 0;
}

static int teardown(void **state)
{
	kit_close(&fix.kit);
	assert_null(fix.resolver.asks[DNS_A]);
	return 0;
}

#define EXPLAIN(rest) \
	"{\"v\":1,\"cmd\":\"explain\",\"network\":\"tcp\",\"source\":\"192.168.1.7\"," rest "}"

static void expect(int fd, const char *request, const char *expected)
{
	json_t *data = kit_data(&fix.kit, fd, request);
	char *text = json_dumps(data, JSON_COMPACT);

	assert_string_equal(text, expected);
	free(text);
	json_decref(data);
}

#define SNIFFED(what) "{\"steps\":[{\"rule\":0,\"action\":\"sniff\",\"result\":\"" what "\"}"

/* The frozen names, in their order. */
static void test_explain(void **state)
{
	int fd = kit_connect(&fix.kit);

	outbounds[FIBRE].bind_interface = (char *)"eth1";
	outbounds[FIBRE].routing_mark = 0x5ea;
	expect(fd,
	       EXPLAIN("\"destination\":\"203.0.113.5:8443\",\"domain\":\"Example.ORG.\","
		       "\"protocol\":\"tls\""),
	       SNIFFED("tls example.org") "],\"rule\":1,\"action\":\"route\",\"outbound\":"
					  "\"choice\",\"chain\":[\"choice\",\"proxy\",\"fibre\"],"
					  "\"options\":{},\"target\":\"example.org:8443\","
					  "\"sockets\":{\"routing_mark\":1514,"
					  "\"bind_interface\":\"eth1\"}}");
	expect(fd, EXPLAIN("\"destination\":\"[2001:db8::1]:53\""),
	       SNIFFED("nothing") "],\"rule\":2,\"action\":\"hijack-dns\",\"outbound\":\"\","
				  "\"chain\":[],\"options\":{},\"target\":\"\",\"sockets\":{}}");
	expect(fd, EXPLAIN("\"destination\":\"2001:db8::1\",\"mark\":7"),
	       SNIFFED("nothing") "],\"rule\":3,\"action\":\"reject\",\"outbound\":\"\","
				  "\"chain\":[],\"options\":{},\"target\":\"\",\"sockets\":{},"
				  "\"method\":\"drop\"}");
	expect(fd, EXPLAIN("\"destination\":\"203.0.113.5:8080\""),
	       SNIFFED("nothing") "],\"rule\":-1,\"action\":\"route\",\"outbound\":\"fibre\","
				  "\"chain\":[\"fibre\"],\"options\":{\"override_port\":80,"
				  "\"udp_connect\":true},\"target\":\"203.0.113.5:80\","
				  "\"sockets\":{\"routing_mark\":1514,"
				  "\"bind_interface\":\"eth1\"}}");
	expect(fd, EXPLAIN("\"destination\":\"203.0.113.5\",\"inbound\":\"guests\""),
	       SNIFFED("nothing") "],\"rule\":6,\"action\":\"route\",\"outbound\":\"stopped\","
				  "\"chain\":[\"stopped\"],\"options\":{},"
				  "\"target\":\"203.0.113.5:443\",\"sockets\":{}}");
	close(fd);
}

/* The name is known from the rule that sniffs on, and only if that is done. */
static void test_server_first(void **state)
{
	int fd = kit_connect(&fix.kit);

	expect(fd, EXPLAIN("\"destination\":\"203.0.113.5:25\",\"domain\":\"example.org\""),
	       SNIFFED("not done: on port 25 the server speaks first") //
	       "],\"rule\":-1,\"action\":\"route\",\"outbound\":\"fibre\",\"chain\":[\"fibre\"],"
	       "\"options\":{},\"target\":\"203.0.113.5:25\",\"sockets\":{}}");
	close(fd);
}

#define NAMED EXPLAIN("\"destination\":\"203.0.113.5\",\"domain\":\"name.test\"")
#define ASKED SNIFFED("name.test") ",{\"rule\":5,\"action\":\"resolve\",\"result\":"

static void test_resolve(void **state)
{
	int fd = kit_connect(&fix.kit);

	expect(fd, NAMED,
	       ASKED "\"name.test of inner, ipv4_only: 198.51.100.7\"}],\"rule\":-1,"
		     "\"action\":\"route\",\"outbound\":\"fibre\",\"chain\":[\"fibre\"],"
		     "\"options\":{},\"target\":\"name.test:443\",\"sockets\":{}}");
	fix.resolver.status = DNS_NO_NAME;
	expect(fd, NAMED,
	       ASKED "\"name.test of inner, ipv4_only: NXDOMAIN\"}],\"rule\":5,"
		     "\"action\":\"unresolved\",\"outbound\":\"\",\"chain\":[],"
		     "\"options\":{},\"target\":\"\",\"sockets\":{}}");
	close(fd);
}

static void send_line(int fd, const char *request)
{
	assert_int_equal(kit_send(&fix.kit, fd, request, strlen(request)), 0);
	assert_int_equal(kit_send(&fix.kit, fd, "\n", 1), 0);
	kit_settle(&fix.kit);
}

static void test_resolve_later(void **state)
{
	int fd = kit_connect(&fix.kit);
	json_t *answer;

	fix.resolver.later = true;
	send_line(fd, NAMED);
	answer_all();
	answer = kit_receive(&fix.kit, fd);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	assert_string_equal(kit_string(json_object_get(answer, "data"), "target"), "name.test:443");
	json_decref(answer);
	send_line(fd, NAMED); /* the connection is fit for the next */
	assert_non_null(fix.resolver.asks[DNS_A]);
	close(fd);
	kit_settle(&fix.kit); /* who asked has gone, or goes with the server */
	ctl_server_free(fix.kit.server);
	fix.kit.server = NULL;
	assert_int_equal(fix.resolver.cancelled, 1);
}

/* What comes meanwhile waits its turn. */
static void test_pipelined(void **state)
{
	int fd = kit_connect(&fix.kit);
	json_t *answer;

	fix.resolver.later = true;
	send_line(fd, NAMED "\n{\"v\":1,\"id\":2,\"cmd\":\"version\"}");
	send_line(fd, "{\"v\":1,\"id\":3,\"cmd\":\"version\"}");
	answer_all();
	for (int i = 0; i < 3; i++) {
		answer = kit_receive(&fix.kit, fd);
		assert_int_equal(json_integer_value(json_object_get(answer, "id")), i ? i + 1 : 0);
		json_decref(answer);
	}
	close(fd);
}

static void test_resolve_never(void **state)
{
	int fd = kit_connect(&fix.kit);
	json_t *answer;

	fix.resolver.later = true;
	send_line(fd, NAMED);
	fix.kit.loop.now_ms += 5001;
	timer_wheel_advance(&fix.kit.loop.timers, fix.kit.loop.now_ms);
	assert_int_equal(fix.resolver.cancelled, 1);
	answer = kit_receive(&fix.kit, fd);
	assert_string_equal(kit_string(json_object_get(answer, "data"), "action"), "unresolved");
	json_decref(answer);
	close(fd);
}

static void test_wrong_facts(void **state)
{
	static const struct {
		const char *request, *part;
	} cases[] = {
		{ "{\"v\":1,\"cmd\":\"explain\",\"network\":\"tcp\"}", "\"source\" is missing" },
		{ "{\"v\":1,\"cmd\":\"explain\",\"network\":\"tpc\",\"source\":\"::1\","
		  "\"destination\":\"::1\"}",
		  "did you mean \"tcp\"?" },
		{ EXPLAIN("\"destination\":\"example.org:443\""), "\"destination\": not an IP" },
		{ EXPLAIN("\"destination\":\"\""), "\"destination\": not an IP" },
		{ EXPLAIN("\"destination\":\"[::1\""), "\"destination\": not an IP" },
		{ EXPLAIN("\"destination\":\"[::1]80\""), "\"destination\": not an IP" },
		{ EXPLAIN("\"destination\":\"]:80\""), "\"destination\": not an IP" },
		{ EXPLAIN("\"destination\":\":80\""), "\"destination\": not an IP" },
		{ EXPLAIN("\"destination\":\"1.2.3.4:65536\""), "\"destination\": not an IP" },
		{ EXPLAIN("\"destination\":\"1.2.3.4:-1\""), "\"destination\": not an IP" },
		{ EXPLAIN("\"destination\":\"::1\",\"protocol\":\"htp\""),
		  "did you mean \"http\"?" },
		{ EXPLAIN("\"destination\":\"::1\",\"protocol\":\"unknown\""), "no protocol" },
		{ EXPLAIN("\"destination\":\"::1\",\"inbound\":\"guest\""),
		  "did you mean \"guests\"?" },
		{ EXPLAIN("\"destination\":\"::1\",\"domain\":\"1.2.3.4\""), "\"domain\": not a" },
		{ EXPLAIN("\"destination\":\"::1\",\"domain\":\"a b\""), "\"domain\": not a" },
		{ EXPLAIN("\"destination\":\"::1\",\"domain\":\".\""), "\"domain\": not a" },
		{ EXPLAIN("\"destination\":\"::1\",\"interface\":\"0123456789abcdef\""),
		  "\"interface\": no name" },
		{ EXPLAIN("\"destination\":\"::1\",\"mark\":4294967296"), "\"mark\": not from" },
		{ EXPLAIN("\"destination\":\"::1\",\"mark\":\"7\""), "must be a whole number" },
		{ EXPLAIN("\"destination\":\"::1\",\"dscp\":64"), "\"dscp\": not from" },
		{ EXPLAIN("\"destination\":\"::1\",\"dscp\":-1"), "\"dscp\": not from" },
		{ "{\"v\":1,\"cmd\":\"outbounds select\",\"group\":\"choise\",\"tag\":\"x\"}",
		  "did you mean \"choice\"?" },
		{ "{\"v\":1,\"cmd\":\"outbounds select\",\"group\":\"fastest\",\"tag\":\"fibre\"}",
		  "only a selector" },
		{ "{\"v\":1,\"cmd\":\"outbounds select\",\"group\":\"fibre\",\"tag\":\"fibre\"}",
		  "is of type direct" },
		{ "{\"v\":1,\"cmd\":\"outbounds select\",\"group\":\"choice\",\"tag\":\"fibr\"}",
		  "did you mean \"fibre\"?" },
		{ "{\"v\":1,\"cmd\":\"outbounds select\",\"group\":\"choice\"}", "is missing" },
		{ "{\"v\":1,\"cmd\":\"outbounds test\",\"tag\":\"fibr\"}",
		  "did you mean \"fibre\"?" },
		{ "{\"v\":1,\"cmd\":\"outbounds test\",\"url\":\"https://x/\"}", "\"url\": not" },
	};
	int fd = kit_connect(&fix.kit);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		kit_refused(&fix.kit, fd, cases[i].request, cases[i].part);
	close(fd);
}

#define PLAIN(tag, type, chain) "{\"tag\":\"" tag "\",\"type\":\"" type "\",\"chain\":[" chain "]}"

/* The frozen names, in their order. */
static void test_outbounds(void **state)
{
	int fd = kit_connect(&fix.kit);

	fix.delays[0] = UINT_MAX;
	fix.delays[1] = 23;
	expect(fd, "{\"v\":1,\"cmd\":\"outbounds select\",\"group\":\"choice\",\"tag\":\"fibre\"}",
	       "{\"group\":\"choice\",\"selected\":\"fibre\",\"was\":\"proxy\"}");
	expect(fd, "{\"v\":1,\"cmd\":\"outbounds list\"}",
	       "[" PLAIN("fibre", "direct", "\"fibre\"") "," //
	       PLAIN("proxy", "socks",
		     "\"proxy\",\"fibre\"") ","
					    "{\"tag\":\"choice\",\"type\":\"selector\",\"chain\":["
					    "\"choice\",\"fibre\"],"
					    "\"selected\":\"fibre\",\"members\":[{\"tag\":"
					    "\"proxy\"},{\"tag\":\"fibre\"},"
					    "{\"tag\":\"stopped\"}]}," PLAIN(
						    "stopped", "block",
						    "\"stopped\"") ","
								   "{\"tag\":\"fastest\",\"type\":"
								   "\"urltest\",\"chain\":["
								   "\"fastest\",\"fibre\"],"
								   "\"selected\":\"fibre\","
								   "\"members\":["
								   "{\"tag\":\"fibre\",\"test\":"
								   "\"failed\",\"delay_ms\":null},"
								   "{\"tag\":\"choice\",\"test\":"
								   "\"ok\",\"delay_ms\":23}]}]");
	close(fd);
}

static int listen_loopback(uint16_t *ret_port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	*ret_port = ntohs(sa.sin_port);
	return fd;
}

static json_t *test_fibre(int fd, int listener, uint16_t port, const char *says)
{
	char request[256], head[512] = "";
	json_t *answer, *test;
	int peer;

	snprintf(request, sizeof(request),
		 "{\"v\":1,\"cmd\":\"outbounds test\",\"tag\":\"fibre\","
		 "\"url\":\"http://127.0.0.1:%u/path?q\"}",
		 (unsigned)port);
	send_line(fd, request);
	if (listener >= 0) {
		peer = accept(listener, NULL, NULL);
		assert_true(peer >= 0);
		kit_settle(&fix.kit);
		assert_true(recv(peer, head, sizeof(head) - 1, 0) > 0);
		assert_ptr_equal(strstr(head, "HEAD /path?q HTTP/1.1\r\nHost: 127.0.0.1:"), head);
		assert_int_equal(send(peer, says, strlen(says), 0), strlen(says));
		close(peer);
	}
	answer = kit_receive(&fix.kit, fd);
	assert_int_equal(json_array_size(json_object_get(answer, "data")), 1);
	test = json_incref(json_array_get(json_object_get(answer, "data"), 0));
	json_decref(answer);
	return test;
}

static void test_test(void **state)
{
	int fd = kit_connect(&fix.kit), listener;
	json_t *test;
	uint16_t port;

	listener = listen_loopback(&port);
	test = test_fibre(fd, listener, port, "HTTP/1.1 404 No\r\n\r\n");
	assert_true(json_is_true(json_object_get(test, "ok")));
	assert_string_equal(kit_string(test, "error"), "");
	assert_int_equal(json_integer_value(json_object_get(test, "status")), 404);
	json_decref(test);
	test = test_fibre(fd, listener, port, "HTTP/1.0 503 Later\r\n\r\n");
	assert_string_equal(kit_string(test, "error"), "HTTP status 503");
	json_decref(test);
	close(listener);
	test = test_fibre(fd, -1, port, NULL);
	assert_true(json_is_false(json_object_get(test, "ok")));
	assert_string_equal(kit_string(test, "error"), "connect: Connection refused");
	assert_int_equal(json_array_size(json_object_get(test, "attempts")), 1);
	json_decref(test);
	close(fd);
}

/* A client that goes away takes what it began with it. */
static void test_test_abandoned(void **state)
{
	char request[256];
	uint16_t port;
	int fd = kit_connect(&fix.kit), listener = listen_loopback(&port), peer;
	char byte;

	snprintf(request, sizeof(request),
		 "{\"v\":1,\"cmd\":\"outbounds test\",\"tag\":\"fibre\","
		 "\"url\":\"http://127.0.0.1:%u\"}",
		 (unsigned)port);
	send_line(fd, request);
	peer = accept(listener, NULL, NULL);
	assert_true(peer >= 0);
	close(fd);
	kit_settle(&fix.kit);
	while (recv(peer, &byte, 1, MSG_DONTWAIT) > 0)
		;
	assert_int_equal(errno, ECONNRESET);
	close(peer);
	close(listener);
}

static void test_no_env(void **state)
{
	int fd;

	ctl_server_free(fix.kit.server);
	fix.kit.context.dial_env = NULL;
	kit_serve(&fix.kit);
	fd = kit_connect(&fix.kit);
	kit_refused(&fix.kit, fd, "{\"v\":1,\"cmd\":\"outbounds test\"}", "nothing is dialed");
	expect(fd, NAMED,
	       ASKED "\"name.test of inner, ipv4_only: is not asked here\"}],\"rule\":-1,"
		     "\"action\":\"route\",\"outbound\":\"fibre\",\"chain\":[\"fibre\"],"
		     "\"options\":{},\"target\":\"name.test:443\",\"sockets\":{}}");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_explain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_first, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resolve, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resolve_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resolve_never, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_facts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outbounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_test, setup, teardown),
		cmocka_unit_test_setup_teardown(test_test_abandoned, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_env, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
