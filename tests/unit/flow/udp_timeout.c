/* How long a UDP session may be quiet: a rule before what it speaks, that before its port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/names.h"
#include "flow/udp.h"

#define INBOUND_MS 300000

static void of_rules_and_what_it_speaks(void **state)
{
	static const struct {
		enum protocol protocol;
		uint16_t port;
		uint32_t ms;
	} cases[] = {
		{ PROTOCOL_UNKNOWN, 5000, INBOUND_MS },
		{ PROTOCOL_UNKNOWN, 53, 10000 },
		{ PROTOCOL_UNKNOWN, 123, 10000 },
		{ PROTOCOL_UNKNOWN, 443, 30000 },
		{ PROTOCOL_UNKNOWN, 3478, 10000 },
		{ PROTOCOL_DNS, 5000, 10000 },
		{ PROTOCOL_NTP, 443, 10000 },
		{ PROTOCOL_STUN, 443, 10000 },
		{ PROTOCOL_QUIC, 53, 30000 },
		{ PROTOCOL_DTLS, 5000, 30000 },
		{ PROTOCOL_BITTORRENT, 5000, INBOUND_MS },
	};
	const struct route_options none = { 0 },
				   rule = { .has_udp_timeout = true, .udp_timeout_ms = 7000 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(udp_timeout_ms(NULL, cases[i].protocol, cases[i].port, INBOUND_MS),
				 cases[i].ms);
		assert_int_equal(
			udp_timeout_ms(&none, cases[i].protocol, cases[i].port, INBOUND_MS),
			cases[i].ms);
		assert_int_equal(
			udp_timeout_ms(&rule, cases[i].protocol, cases[i].port, INBOUND_MS), 7000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_rules_and_what_it_speaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
