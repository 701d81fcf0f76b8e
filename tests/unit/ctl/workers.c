/* What the workers are asked, with real ones: two threads without listeners, flows over the loopback. */
#include "base/log.h"
#include "base/names.h"
#include "kit.h"
#include <arpa/inet.h>
#include <semaphore.h>

#define WORKERS 2

static struct fixture {
	struct kit kit;
	struct worker workers[WORKERS];
	bool running;
	int listener;
	struct addr server;
} fix;

static const struct inbound inbound = { .tag = (char *)"in" };

/* Runs a function on a worker and waits for it. */
struct order {
	struct post post;
	void (*fn)(struct order *order);
	struct worker *worker;
	int fd;
	unsigned count;
	sem_t done;
};

static void on_order(struct post *post)
{
	struct order *order = container_of(post, struct order, post);

	order->fn(order);
	sem_post(&order->done);
}

static void send_order(struct order *order, unsigned worker, void (*fn)(struct order *))
{
	order->fn = fn;
	order->worker = &fix.workers[worker];
	sem_init(&order->done, 0, 0);
	post_send(&order->worker->post, &order->post, on_order);
}

static void run_order(struct order *order, unsigned worker, void (*fn)(struct order *))
{
	send_order(order, worker, fn);
	sem_wait(&order->done);
	sem_destroy(&order->done);
}

static int listen_loopback(struct addr *ret)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sa, ret), 0);
	return fd;
}

static int setup(void **state)
{
	char reason[256];

	memset(&fix, 0, sizeof(fix));
	kit_open(&fix.kit, fix.workers, WORKERS);
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_int_equal(worker_init(&fix.workers[i], i, fix.kit.config, NULL,
					     REFUSED_UNFIT, reason),
				 0);
		assert_int_equal(worker_start(&fix.workers[i]), 0);
	}
	fix.running = true;
	fix.listener = listen_loopback(&fix.server);
	kit_serve(&fix.kit);
	return 0;
}

static void stop_workers(void)
{
	for (unsigned i = 0; fix.running && i < WORKERS; i++)
		worker_deinit(&fix.workers[i]);
	fix.running = false;
}

static int teardown(void **state)
{
	stop_workers();
	close(fix.listener);
	kit_close(&fix.kit);
	return 0;
}

struct flow {
	int client, server;
	struct addr source;
};

static void begin_flow(struct order *order)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addr source = { 0 };

	(void)getpeername(order->fd, (struct sockaddr *)&sa, &len);
	(void)addr_from_sockaddr((struct sockaddr *)&sa, &source);
	order->worker->stats.accepted++;
	tcp_flow_start(order->worker, &inbound, order->fd, &source, &fix.server);
}

/* A connection as the listener would hand it to @worker; it is accepted at the server too. */
static struct flow open_flow(unsigned worker)
{
	struct addr front;
	struct order order = { 0 };
	struct sockaddr_storage sa;
	socklen_t len;
	int listener = listen_loopback(&front);
	struct flow flow;

	len = addr_to_sockaddr(&front, &sa);
	flow.client = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(flow.client, (struct sockaddr *)&sa, len), 0);
	len = sizeof(sa);
	assert_int_equal(getsockname(flow.client, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sa, &flow.source), 0);
	order.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	close(listener);
	run_order(&order, worker, begin_flow);
	flow.server = accept(fix.listener, NULL, NULL);
	assert_true(flow.server >= 0);
	return flow;
}

static void close_flow(struct flow *flow)
{
	close(flow->client);
	close(flow->server);
}

static void carry(int from, int to, size_t bytes)
{
	char data[256] = { 0 };

	assert_true(bytes <= sizeof(data));
	assert_int_equal(send(from, data, bytes, 0), bytes);
	assert_int_equal(recv(to, data, bytes, MSG_WAITALL), bytes);
}

static size_t list_size(int fd, const char *filter)
{
	char request[256];
	json_t *list;
	size_t size;

	snprintf(request, sizeof(request), "{\"v\":1,\"cmd\":\"flows list\"%s}", filter);
	list = kit_data(&fix.kit, fd, request);
	size = json_array_size(list);
	json_decref(list);
	return size;
}

/* Until so many flows live, everywhere. */
static void wait_for_flows(int fd, size_t count)
{
	uint64_t end = clock_ms() + KIT_LIMIT_MS;

	while (list_size(fd, "") != count)
		assert_true(clock_ms() < end);
}

static void test_list(void **state)
{
	struct flow flow = open_flow(0), other = open_flow(1);
	char expected[1024], source[ADDR_STRLEN], destination[ADDR_STRLEN], *text;
	int fd = kit_connect(&fix.kit);
	json_t *list, *first;

	carry(flow.client, flow.server, 10);
	carry(flow.server, flow.client, 200);
	list = kit_data(&fix.kit, fd, "{\"v\":1,\"cmd\":\"flows list\"}");
	assert_int_equal(json_array_size(list), 2);
	first = json_array_get(list, 0);
	assert_true(json_integer_value(json_object_get(first, "age_ms")) < KIT_LIMIT_MS);
	json_object_set_new(first, "age_ms", json_integer(0));
	json_object_set_new(json_array_get(json_object_get(first, "attempts"), 0), "took_ms",
			    json_integer(0));
	snprintf(expected, sizeof(expected),
		 "{\"id\":1,\"state\":\"relay\",\"inbound\":\"in\",\"source\":\"%s\","
		 "\"destination\":\"%s\",\"domain\":\"\",\"protocol\":\"\",\"rule\":-1,"
		 "\"outbound\":\"direct\",\"method\":\"copy\",\"refused\":\"\","
		 "\"packet\":\"\",\"missed\":\"\",\"adopted\":false,"
		 "\"up\":{\"bytes\":10,\"kernel_bytes\":0,\"gate\":\"\",\"spills\":0},"
		 "\"down\":{\"bytes\":200,\"kernel_bytes\":0,\"gate\":\"\",\"spills\":0},"
		 "\"age_ms\":0,\"taken_ms\":-1,\"attempts\":[{\"step\":\"connect\",\"address\":\"%"
		 "s\","
		 "\"interface\":\"\",\"start_ms\":0,\"took_ms\":0,\"result\":\"connected\"}]}",
		 addr_format(&flow.source, source), addr_format(&fix.server, destination),
		 destination);
	text = json_dumps(first, JSON_COMPACT);
	assert_string_equal(text, expected);
	free(text);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 1), "id")), 2);
	json_decref(list);
	close_flow(&flow);
	close_flow(&other);
	close(fd);
}

static void test_filters(void **state)
{
	struct flow flows[5];
	int fd = kit_connect(&fix.kit);

	for (unsigned i = 0; i < ARRAY_SIZE(flows); i++) {
		flows[i] = open_flow(i % WORKERS);
		carry(flows[i].client, flows[i].server, 1);
	}
	assert_int_equal(list_size(fd, ""), 5);
	assert_int_equal(list_size(fd, ",\"method\":\"copy\""), 5);
	assert_int_equal(list_size(fd, ",\"method\":\"splice\""), 0);
	assert_int_equal(list_size(fd, ",\"source\":\"127.0.0.1\""), 5);
	assert_int_equal(list_size(fd, ",\"source\":\"127.0.0.2\""), 0);
	assert_int_equal(list_size(fd, ",\"destination\":\"127.0.0.1\",\"outbound\":\"direct\""),
			 5);
	assert_int_equal(list_size(fd, ",\"destination\":\"::1\""), 0);
	assert_int_equal(list_size(fd, ",\"outbound\":\"stopped\""), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(flows); i++)
		close_flow(&flows[i]);
	wait_for_flows(fd, 0);
	close(fd);
}

static void test_kill(void **state)
{
	struct flow flow = open_flow(0), other = open_flow(1);
	int fd = kit_connect(&fix.kit);
	json_t *data;
	char byte;

	carry(other.client, other.server, 1);
	kit_refused(&fix.kit, fd, "{\"v\":1,\"cmd\":\"flows kill\",\"flow\":3}", "no flow 3");
	data = kit_data(&fix.kit, fd, "{\"v\":1,\"cmd\":\"flows kill\",\"flow\":1}");
	assert_int_equal(json_integer_value(json_object_get(data, "flow")), 1);
	json_decref(data);
	assert_int_equal(recv(flow.client, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	kit_refused(&fix.kit, fd, "{\"v\":1,\"cmd\":\"flows kill\",\"flow\":1}", "no flow 1");
	carry(other.server, other.client, 1);
	data = kit_data(&fix.kit, fd, "{\"v\":1,\"cmd\":\"metrics\"}");
	assert_non_null(
		strstr(json_string_value(data), "seam_flows_closed_total{reason=\"killed\"} 1\n"));
	assert_non_null(strstr(json_string_value(data), "seam_flows_accepted_total 2\n"));
	assert_non_null(strstr(json_string_value(data), "seam_flows_active 1\n"));
	assert_non_null(strstr(json_string_value(data),
			       "seam_bytes_total{direction=\"up\",path=\"user\"} 1\n"));
	json_decref(data);
	data = kit_data(&fix.kit, fd, "{\"v\":1,\"cmd\":\"status\"}");
	assert_int_equal(json_integer_value(json_object_get(data, "workers")), 2);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(data, "memory"), "limit")),
		64 << 20);
	json_decref(data);
	close_flow(&flow);
	close_flow(&other);
	close(fd);
}

static void expect_event(int fd, const char *event, const char *reason)
{
	json_t *line = kit_receive(&fix.kit, fd);

	assert_non_null(line);
	assert_string_equal(kit_string(line, "event"), event);
	assert_string_equal(kit_string(line, "outbound"), "direct");
	assert_string_equal(kit_string(line, "reason"), reason);
	assert_int_equal(json_integer_value(json_object_get(line, "id")), 2);
	assert_int_equal(json_object_size(line), 21);
	json_decref(line);
}

static int watcher(void)
{
	int fd = kit_connect(&fix.kit);

	json_decref(kit_data(&fix.kit, fd, "{\"v\":1,\"cmd\":\"flows watch\"}"));
	return fd;
}

static void see_watched(struct order *order)
{
	order->count = order->worker->watch != NULL;
}

/* How many workers tell of their flows. */
static unsigned watched(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		struct order order = { 0 };

		run_order(&order, i, see_watched);
		count += order.count;
	}
	return count;
}

static void test_watch(void **state)
{
	int first = watcher(), second = watcher();
	struct flow flow;

	assert_int_equal(watched(), WORKERS);
	flow = open_flow(1);
	carry(flow.client, flow.server, 1);
	expect_event(first, "open", "");
	expect_event(second, "open", "");
	close(second);
	kit_settle(&fix.kit);
	assert_int_equal(watched(), WORKERS);
	shutdown(first, SHUT_WR); /* it may still listen */
	kit_settle(&fix.kit);
	close_flow(&flow);
	expect_event(first, "close", "done");
	close(first);
	kit_settle(&fix.kit);
	assert_int_equal(watched(), 0);
	first = watcher();
	assert_int_equal(watched(), WORKERS);
	close(first);
}

static void flood(struct order *order)
{
	struct flow_info info = { .id = 2,
				  .state = FLOW_RELAY,
				  .inbound = "in",
				  .outbound = "direct",
				  .method = "copy",
				  .refused = "",
				  .packet = "",
				  .side = { { .gate = "" }, { .gate = "" } } };

	for (unsigned i = 0; i < order->count; i++)
		order->worker->watch(order->worker->watch_ctx, &info);
}

/* Both see the same; who reads stays, who does not is dropped, and nobody else waits for it. */
static void test_slow_watcher(void **state)
{
	int reads = watcher(), sleeps = watcher(), other = kit_connect(&fix.kit);
	unsigned seen = 0, rounds = 3, each = 2000;
	char data[65536];
	ssize_t n;

	for (unsigned i = 0; i < rounds; i++) {
		struct order order = { .count = each };

		run_order(&order, 0, flood);
		for (unsigned lines = 0; lines < each; lines++) {
			json_t *line = kit_receive(&fix.kit, reads);

			seen += line != NULL;
			json_decref(line);
		}
	}
	assert_int_equal(seen, rounds * each);
	wait_for_flows(other, 0);
	for (seen = 0; (n = recv(sleeps, data, sizeof(data), 0)) > 0;)
		seen += (unsigned)n;
	assert_int_equal(n, 0); /* the end, although there was more to tell */
	assert_true(seen < (4U << 20));
	close(reads);
	close(sleeps);
	close(other);
}

/* While the main thread is busy, what is on its way to it is bounded; what is lost is told. */
static void test_lost_events(void **state)
{
	struct order order = { .count = 50000 };
	int fd = watcher();
	json_t *line;

	run_order(&order, 1, flood);
	line = kit_receive(&fix.kit, fd);
	assert_string_equal(kit_string(line, "event"), "lost");
	assert_int_equal(json_integer_value(json_object_get(line, "count")), order.count - 2048);
	json_decref(line);
	for (unsigned i = 0; i < 2048; i++)
		expect_event(fd, "open", "");
	order.count = 1;
	run_order(&order, 1, flood);
	expect_event(fd, "open", "");
	close(fd);
}

static void wait_for_gate(struct order *order)
{
	char byte;

	(void)!read(order->fd, &byte, 1);
}

/* Who asked is gone before the worker answers. */
static void test_client_leaves(void **state)
{
	static const char *const requests[] = { "flows list", "flows watch", "status", "metrics" };
	struct order order = { 0 };
	int gate[2];

	assert_int_equal(pipe(gate), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		int fd = kit_connect(&fix.kit);
		char request[64];
		int n = snprintf(request, sizeof(request), "{\"v\":1,\"cmd\":\"%s\"}\n",
				 requests[i]);

		order.fd = gate[0];
		send_order(&order, 1, wait_for_gate);
		assert_int_equal(kit_send(&fix.kit, fd, request, (size_t)n), 0);
		kit_settle(&fix.kit);
		assert_int_equal(recv(fd, request, 1, 0), -1);
		close(fd);
		kit_settle(&fix.kit);
		assert_int_equal(write(gate[1], "x", 1), 1);
		sem_wait(&order.done);
		kit_settle(&fix.kit);
	}
	assert_int_equal(watched(), 0);
	close(gate[0]);
	close(gate[1]);
}

/* Everything is on its way when the daemon stops, in the order in which it does. */
static void test_stop(void **state)
{
	static const char *const requests[] = { "flows list", "flows watch", "status", "version" };
	int fds[ARRAY_SIZE(requests)], watching = watcher(), leaves = watcher(), gate[2];
	struct flow flow = open_flow(0), other = open_flow(1);
	struct order order = { 0 };

	assert_int_equal(pipe(gate), 0);
	order.fd = gate[0];
	send_order(&order, 1, wait_for_gate);
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		char request[64];
		int n = snprintf(request, sizeof(request), "{\"v\":1,\"cmd\":\"%s\"}\n",
				 requests[i]);

		fds[i] = kit_connect(&fix.kit);
		assert_int_equal(kit_send(&fix.kit, fds[i], request, (size_t)n), 0);
	}
	kit_settle(&fix.kit);
	close(leaves);
	assert_int_equal(write(gate[1], "x", 1), 1);
	stop_workers(); /* resets the flows, which are still told of */
	teardown(state);
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++)
		close(fds[i]);
	close(watching);
	close_flow(&flow);
	close_flow(&other);
	close(gate[0]);
	close(gate[1]);
	setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kill, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_watcher, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_leaves, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
