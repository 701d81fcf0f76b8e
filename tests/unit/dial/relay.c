/* What is dialed for a relay: its address, its name, or where the proxy is; by the way of the stream. */
#include "../net/common.h"
#include "dial/relay.h"
#include "kern/interfaces.h"
#include "net/sock.h"

static struct dial_env env;
static const struct netif gone;

static struct dial_request request_for(const struct handshake_relay *relay,
				       const struct target *proxy, int stream)
{
	struct dial_request request = { .env = &env,
					.type = SOCK_STREAM,
					.target = { .addr = address("10.1.2.3", 53) },
					.interface = &gone,
					.unbound = true };

	relay_request(&request, relay, proxy, stream);
	assert_int_equal(request.type, SOCK_DGRAM);
	assert_true(request.one_peer && request.no_trains);
	return request;
}

static void expect(const char *relay_addr, const char *relay_name, const struct target *proxy,
		   const char *addr, const char *name)
{
	struct handshake_relay relay = { .addr.port = 4444 };
	struct addr want = { .port = 4444 };
	struct dial_request request;

	if (relay_addr)
		relay.addr = address(relay_addr, 4444);
	snprintf(relay.domain, sizeof(relay.domain), "%s", relay_name);
	if (addr)
		want = address(addr, 4444);
	request = request_for(&relay, proxy, -1);
	assert_true(addr_equal(&request.target.addr, &want));
	assert_int_equal(!request.target.domain, !name);
	if (name)
		assert_string_equal(request.target.domain, name);
}

static void test_target(void **state)
{
	const struct target by_addr = { .addr = address("192.0.2.1", 1080) };
	const struct target ours = { .addr = address("127.0.0.1", 1080) };
	const struct target by_name = { .domain = "p.test", .addr.port = 1080 };

	expect("203.0.113.1", "", &by_addr, "203.0.113.1", NULL);
	expect("fd00::1", "", &by_name, "fd00::1", NULL);
	expect(NULL, "r.test", &by_addr, NULL, "r.test");
	expect(NULL, "203.0.113.1", &by_addr, "203.0.113.1", NULL);
	expect(NULL, "fd00::1", &by_name, "fd00::1", NULL);
	expect(NULL, "", &by_addr, "192.0.2.1", NULL);
	expect(NULL, "0.0.0.0", &by_addr, "192.0.2.1", NULL);
	expect("127.0.0.1", "", &by_addr, "192.0.2.1", NULL);
	expect("::1", "", &by_name, NULL, "p.test");
	expect(NULL, "127.0.0.1", &by_addr, "192.0.2.1", NULL);
	expect("127.0.0.2", "", &ours, "127.0.0.2", NULL);
	expect("::1", "", &ours, "::1", NULL);
	expect(NULL, "", &by_name, NULL, "p.test");
}

static void test_interface(void **state)
{
	const struct handshake_relay relay = { .addr = address("203.0.113.1", 4444) };
	const struct target proxy = { .addr = address("192.0.2.1", 1080) };
	int stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct netif lo = { .index = 1, .name = "lo" };
	struct netif_list list = { .count = 1, .list = &lo };
	struct dial_request request;

	env.interfaces = &list;
	request = request_for(&relay, &proxy, stream);
	assert_null(request.interface);
	assert_int_equal(sock_bind_ifindex(stream, 1), 0);
	request = request_for(&relay, &proxy, stream);
	assert_ptr_equal(request.interface, &lo);
	assert_false(request.unbound);
	env.interfaces = NULL;
	close(stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_target),
					    cmocka_unit_test(test_interface) };

	return enter_new_namespace() ? cmocka_run_group_tests(tests, NULL, NULL) : SKIP;
}
