/* What is asked and what is answered, by a server without workers. */
#include "base/log.h"
#include "ctl/describe.h"
#include "kit.h"

static int setup(void **state)
{
	struct kit *kit = malloc(sizeof(*kit));

	kit_open(kit, NULL, 0);
	kit_serve(kit);
	*state = kit;
	return 0;
}

static int teardown(void **state)
{
	kit_close(*state);
	free(*state);
	return 0;
}

static void test_version(void **state)
{
	int fd = kit_connect(*state);
	json_t *data = kit_data(*state, fd, "{\"v\":1,\"cmd\":\"version\"}");

	assert_string_equal(kit_string(data, "version"), SEAM_VERSION);
	assert_int_equal(json_integer_value(json_object_get(data, "protocol")), 1);
	json_decref(data);
	close(fd);
}

/* The frozen names, in their order. */
static void test_status(void **state)
{
	static const char expected[] =
		"{\"version\":\"" SEAM_VERSION "\",\"pid\":0,\"uptime_ms\":0,\"workers\":0,"
		"\"flows\":{\"active\":0,\"max\":1000,\"accepted\":0},"
		"\"udp\":{\"active\":0,\"max\":0,\"sessions\":0},"
		"\"relay\":{\"method\":\"copy\",\"sockmap\":{\"available\":false,"
		"\"reason\":\"relay.method is copy\"},\"entered\":0,\"spilled\":0,\"broken\":0,"
		"\"refused\":{\"unfit\":0,\"no-slot\":0,\"memory-limit\":0,\"sockets-refused\":0,"
		"\"kernel-tainted\":0,\"too-many-spills\":0,\"mptcp\":0},"
		"\"packet\":{\"available\":false,\"reason\":\"\",\"taken\":0,\"missed\":0,"
		"\"missed_by\":{\"moved\":0,\"flags\":0,\"socket\":0,\"state\":0,"
		"\"unacked\":0,\"order\":0,\"owed\":0,\"mss\":0,\"timestamp\":0,\"sack\":0,"
		"\"ecn\":0,\"option\":0,\"ip\":0,\"layer\":0,\"withdrawn\":0},"
		"\"adopted\":0,\"pairs\":0,\"pairs_max\":0,\"refused\":{\"family\":0,"
		"\"netns\":0,\"mptcp\":0,\"no-route\":0,\"interface\":0,\"no-pair\":0,"
		"\"tuple\":0,\"unseen\":0,\"busy\":0,\"sockets-refused\":0,"
		"\"no-memory\":0,\"mss\":0,\"timestamps\":0,\"sack\":0,\"ecn\":0,"
		"\"option\":0,\"layer\":0,\"removed\":0}}},\"memory\":{\"used\":0,"
		"\"limit\":0}}";
	int fd = kit_connect(*state);
	json_t *data = kit_data(*state, fd, "{\"v\":1,\"cmd\":\"status\"}");
	char *text;

	assert_int_equal(json_integer_value(json_object_get(data, "pid")), getpid());
	assert_true(json_integer_value(json_object_get(data, "uptime_ms")) < 60000);
	json_integer_set(json_object_get(data, "pid"), 0);
	json_integer_set(json_object_get(data, "uptime_ms"), 0);
	text = json_dumps(data, JSON_COMPACT);
	assert_string_equal(text, expected);
	free(text);
	json_decref(data);
	close(fd);
}

static void test_no_flows(void **state)
{
	int fd = kit_connect(*state);
	json_t *data = kit_data(*state, fd,
				"{\"v\":1,\"cmd\":\"flows list\",\"method\":\"copy\","
				"\"source\":\"::1\",\"outbound\":\"direct\"}");

	assert_int_equal(json_array_size(data), 0);
	assert_true(json_is_array(data));
	json_decref(data);
	kit_refused(*state, fd, "{\"v\":1,\"cmd\":\"flows kill\",\"flow\":7}", "no flow 7");
	close(fd);
}

/* The frozen names, in their order. */
static void test_interfaces(void **state)
{
	static const char expected[] =
		"[{\"name\":\"wan0\",\"index\":2,\"kind\":\"\",\"type\":\"ethernet\",\"up\":true,"
		"\"running\":true,\"mtu\":1500,\"default4\":true,\"default6\":false,"
		"\"addresses\":[\"10.0.0.1/24\",\"fe80::1/64\"]},"
		"{\"name\":\"wg?\",\"index\":3,\"kind\":\"wireguard\",\"type\":\"other\",\"up\":"
		"true,"
		"\"running\":false,\"mtu\":1420,\"default4\":false,\"default6\":true,"
		"\"addresses\":[]},"
		"{\"name\":\"lan0\",\"index\":17,\"kind\":\"\",\"type\":\"ethernet\",\"up\":false,"
		"\"running\":false,\"mtu\":65536,\"default4\":false,\"default6\":false,"
		"\"addresses\":[]}]";
	int fd = kit_connect(*state);
	json_t *data = kit_data(*state, fd, "{\"v\":1,\"cmd\":\"interfaces\"}");
	char *text = json_dumps(data, JSON_COMPACT);

	assert_string_equal(text, expected);
	free(text);
	json_decref(data);
	kit_refused(*state, fd, "{\"v\":1,\"cmd\":\"interfaces\",\"name\":\"wan0\"}",
		    "no argument \"name\"");
	close(fd);
}

/* A daemon that does not keep them says so. */
static void test_no_interfaces(void **state)
{
	struct kit *kit = *state;
	int fd;

	ctl_server_free(kit->server);
	kit->context.interfaces = NULL;
	kit_serve(kit);
	fd = kit_connect(kit);
	kit_refused(kit, fd, "{\"v\":1,\"cmd\":\"interfaces\"}", "not known");
	close(fd);
}

static void test_metrics(void **state)
{
	int fd = kit_connect(*state);
	json_t *data = kit_data(*state, fd, "{\"v\":1,\"cmd\":\"metrics\"}");
	const char *text = json_string_value(data), *eof = "# EOF\n";

	assert_non_null(strstr(text, "# TYPE seam_flows_accepted_total counter\n"));
	assert_non_null(strstr(text, "\nseam_bytes_total{direction=\"up\",path=\"kernel\"} 0\n"));
	assert_non_null(strstr(text, "\nseam_flows_closed_total{reason=\"killed\"} 0\n"));
	assert_null(strstr(text, "reason=\"\""));
	assert_null(strstr(text, "reason=\"none\""));
	assert_null(strstr(text, "seam_open_files 0\n"));
	assert_null(strstr(text, "seam_resident_memory_bytes 0\n"));
	assert_string_equal(text + strlen(text) - strlen(eof), eof);
	json_decref(data);
	close(fd);
}

static void assert_counted(const char *text, const char *name, const char *reason)
{
	char line[128];

	if (reason)
		snprintf(line, sizeof(line), "\n%s{reason=\"%s\"} 0\n", name, reason);
	else
		snprintf(line, sizeof(line), "\n%s 0\n", name);
	if (!strstr(text, line))
		fail_msg("not in the metrics: %s", line);
}

/* Why tc does not carry a flow is told by the metrics and of the flow. */
static void test_packet_reasons(void **state)
{
	int fd = kit_connect(*state);
	json_t *data = kit_data(*state, fd, "{\"v\":1,\"cmd\":\"metrics\"}"), *flow;
	const char *text = json_string_value(data);
	struct flow_info info = { .inbound = "",
				  .outbound = "",
				  .method = "",
				  .refused = "",
				  .side = { { .gate = "" }, { .gate = "" } } };

	assert_counted(text, "seam_packet_taken_total", NULL);
	assert_counted(text, "seam_packet_missed_total", NULL);
	assert_counted(text, "seam_packet_adopted", NULL);
	for (int why = UNTAKEN_NOT + 1; why < UNTAKEN_COUNT; why++) {
		assert_counted(text, "seam_packet_refused_total", relay_untaken_names[why]);
		info.packet = relay_untaken_names[why];
		flow = describe_flow(&info);
		assert_string_equal(kit_string(flow, "packet"), relay_untaken_names[why]);
		json_decref(flow);
	}
	for (int why = 0; why < RELAY_MISSED_COUNT; why++) {
		assert_counted(text, "seam_packet_missed_reasons_total", relay_missed_names[why]);
		info.missed = 1U << why;
		flow = describe_flow(&info);
		assert_string_equal(kit_string(flow, "missed"), relay_missed_names[why]);
		json_decref(flow);
	}
	json_decref(data);
	close(fd);
}

static void test_packet_not_loaded(void **state)
{
	struct kit *kit = *state;
	int fd;

	ctl_server_free(kit->server);
	kit->context.packet_reason = "relay.packet is off";
	kit_serve(kit);
	fd = kit_connect(kit);
	kit_refused(kit, fd, "{\"v\":1,\"cmd\":\"packet remove\"}",
		    "packet is not loaded: relay.packet is off");
	close(fd);
}

static void test_log(void **state)
{
	int fd = kit_connect(*state);
	json_t *data;

	log_set_level(LOG_ERROR);
	data = kit_data(*state, fd, "{\"v\":1,\"cmd\":\"log\",\"level\":\"warn\"}");
	assert_string_equal(kit_string(data, "level"), "warn");
	assert_string_equal(kit_string(data, "was"), "error");
	assert_int_equal(log_threshold, LOG_WARN);
	json_decref(data);
	kit_refused(*state, fd, "{\"v\":1,\"cmd\":\"log\",\"level\":\"wran\"}",
		    "did you mean \"warn\"?");
	kit_refused(*state, fd, "{\"v\":1,\"cmd\":\"log\",\"level\":\"zzz\"}",
		    "there are error, warn, info, debug");
	assert_int_equal(log_threshold, LOG_WARN);
	close(fd);
}

static void test_help(void **state)
{
	int fd = kit_connect(*state);
	json_t *data = kit_data(*state, fd, "{\"v\":1,\"cmd\":\"help\"}"), *command;
	unsigned mutating = 0, arguments = 0;
	size_t i;

	assert_int_equal(json_array_size(data), 17);
	json_array_foreach (data, i, command) {
		assert_true(strlen(kit_string(command, "help")) > 5);
		mutating += json_is_true(json_object_get(command, "mutating"));
		arguments += (unsigned)json_array_size(json_object_get(command, "arguments"));
	}
	assert_int_equal(mutating, 5);
	assert_int_equal(arguments, 24);
	json_decref(data);
	close(fd);
}

static void test_id(void **state)
{
	int fd = kit_connect(*state);
	json_t *answer = kit_ask(*state, fd, "{\"v\":1,\"id\":\"a\\u00e4\",\"cmd\":\"version\"}");

	assert_string_equal(kit_string(answer, "id"), "a\u00e4");
	json_decref(answer);
	answer = kit_ask(*state, fd, "{\"v\":1,\"id\":-3,\"cmd\":\"nothing\"}");
	assert_int_equal(json_integer_value(json_object_get(answer, "id")), -3);
	assert_true(json_is_false(json_object_get(answer, "ok")));
	json_decref(answer);
	kit_refused(*state, fd, "{\"v\":1,\"id\":[],\"cmd\":\"version\"}", "\"id\" is");
	close(fd);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *request, *part;
	} cases[] = {
		{ "", "not JSON" },
		{ "version", "not JSON" },
		{ "{\"v\":1,\"cmd\":\"version\"", "not JSON" },
		{ "{\"v\":1,\"cmd\":\"version\"} x", "not JSON" },
		{ "{\"v\":1,\"cmd\":\"version\",\"cmd\":\"version\"}", "not JSON" },
		{ "{\"v\":1,\"cmd\":\"\xff\xfe\"}", "not JSON" },
		{ "[1,\"version\"]", "is a JSON object" },
		{ "\"version\"", "not JSON" },
		{ "{\"cmd\":\"version\"}", "\"v\" must be 1" },
		{ "{\"v\":2,\"cmd\":\"version\"}", "\"v\" must be 1" },
		{ "{\"v\":\"1\",\"cmd\":\"version\"}", "\"v\" must be 1" },
		{ "{\"v\":1}", "\"cmd\" must be" },
		{ "{\"v\":1,\"cmd\":3}", "\"cmd\" must be" },
		{ "{\"v\":1,\"cmd\":\"\"}", "no command" },
		{ "{\"v\":1,\"cmd\":\"flow list\"}", "did you mean \"flows list\"?" },
		{ "{\"v\":1,\"cmd\":\"entirely different\"}", "there are status, flows list" },
		{ "{\"v\":1,\"cmd\":\"flows list\",\"metod\":\"copy\"}",
		  "did you mean \"method\"?" },
		{ "{\"v\":1,\"cmd\":\"version\",\"x\":1}", "no argument \"x\"" },
		{ "{\"v\":1,\"cmd\":\"flows list\",\"method\":3}", "\"method\" must be a string" },
		{ "{\"v\":1,\"cmd\":\"flows list\",\"method\":\"splic\"}",
		  "did you mean \"splice\"?" },
		{ "{\"v\":1,\"cmd\":\"flows list\",\"source\":\"10.0.0.0/8\"}",
		  "not an IP address" },
		{ "{\"v\":1,\"cmd\":\"flows list\",\"outbound\":\"dirct\"}",
		  "did you mean \"direct\"?" },
		{ "{\"v\":1,\"cmd\":\"flows kill\"}", "\"flow\" is missing" },
		{ "{\"v\":1,\"cmd\":\"flows kill\",\"flow\":\"7\"}", "must be a whole number" },
		{ "{\"v\":1,\"cmd\":\"flows kill\",\"flow\":7.5}", "must be a whole number" },
		{ "{\"v\":1,\"cmd\":\"flows kill\",\"flow\":-1}", "no flow -1" },
		{ "{\"v\":1,\"cmd\":\"flows kill\",\"flow\":99999999999999999999}", "not JSON" },
		{ "{\"v\":1,\"cmd\":\"log\",\"level\":null}", "\"level\" must be a string" },
		{ "[[[[[[[[[[]]]]]]]]]]", "too deep" },
		{ "{\"v\":1,\"cmd\":\"[[[[[[[[\\\"[[[\"}", "no command" },
	};
	int fd = kit_connect(*state);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		kit_refused(*state, fd, cases[i].request, cases[i].part);
	close(fd);
}

/* A word that is cut inside a character still makes an answer. */
static void test_long_words(void **state)
{
	int fd = kit_connect(*state);
	char request[400];
	size_t len = (size_t)snprintf(request, sizeof(request), "{\"v\":1,\"cmd\":\"x");

	for (int i = 0; i < 100; i++)
		len += (size_t)snprintf(request + len, sizeof(request) - len, "\u00e4");
	snprintf(request + len, sizeof(request) - len, "\"}");
	kit_refused(*state, fd, request, "no command \"x");
	close(fd);
}

static void test_nul(void **state)
{
	static const char request[] =
		"{\"v\":1,\0\"cmd\":\"version\"}\n{\"v\":1,\"cmd\":\"ver\\u0000\"}\n";
	int fd = kit_connect(*state);

	assert_int_equal(kit_send(*state, fd, request, sizeof(request) - 1), 0);
	for (int i = 0; i < 2; i++) {
		json_t *answer = kit_receive(*state, fd);

		assert_true(json_is_false(json_object_get(answer, "ok")));
		json_decref(answer);
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_version, setup, teardown),
		cmocka_unit_test_setup_teardown(test_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_flows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interfaces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_interfaces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_metrics, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packet_reasons, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packet_not_loaded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_log, setup, teardown),
		cmocka_unit_test_setup_teardown(test_help, setup, teardown),
		cmocka_unit_test_setup_teardown(test_id, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_words, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nul, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
