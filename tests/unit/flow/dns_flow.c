/* DNS over TCP with a client: questions cut anywhere, many at once, ends of every kind. */
#include "../dns/kit.h"
#include "../dns/question.h"
#include "flow/dns_flow.h"

enum { A = 1, TXT = 16 };

struct client {
	struct kit *kit;
	struct stream stream; /* the flow's end */
	int fd;
	struct dns_flow *flow;
	int result; /* of the last dns_flow_run() */
	unsigned runs;
	uint8_t in[1 << 20];
	size_t size;
};

static char last_domain[256];
static size_t last_inbound;

/* In the place of route/. */
size_t route_dns_server(const struct route_rules *rules, const struct route_meta *meta)
{
	snprintf(last_domain, sizeof(last_domain), "%s", meta->domain ? meta->domain : "(none)");
	last_inbound = meta->inbound;
	return meta->domain && strstr(meta->domain, ".tcp") ? BY_TCP : BY_UDP;
}

static void run(struct client *c)
{
	if (!c->flow || c->result)
		return;
	c->runs++;
	c->result = dns_flow_run(c->flow);
	if (c->result) {
		dns_flow_free(c->flow); /* as an owner may */
		c->flow = NULL;
		stream_close(&c->stream, false);
	}
}

static void on_stream(struct loop_io *io)
{
	run(container_of(io, struct client, stream.io));
}

static void on_wake(void *owner)
{
	run(owner);
}

static struct client *client_new(struct kit *kit)
{
	struct client *c = calloc(1, sizeof(*c));
	struct dns_flow_request request = { .loop = &kit->loop,
					    .resolver = kit->resolver,
					    .meta = { .inbound = 3 },
					    .wake = on_wake,
					    .owner = c };
	int fds[2];

	assert_non_null(c);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	c->kit = kit;
	c->fd = fds[0];
	assert_int_equal(stream_init(&c->stream, &kit->loop, fds[1], on_stream), 0);
	request.client = &c->stream;
	assert_int_equal(dns_flow_start(&c->flow, &request), 0);
	run(c);
	return c;
}

static void client_free(struct client *c)
{
	dns_flow_free(c->flow);
	stream_close(&c->stream, false);
	close(c->fd);
	free(c);
}

static size_t framed(uint8_t *ret, const struct asking *asking)
{
	size_t size = write_question(ret + 2, asking);

	ret[0] = (uint8_t)(size >> 8);
	ret[1] = (uint8_t)size;
	return size + 2;
}

static void say(struct client *c, const void *bytes, size_t size)
{
	assert_int_equal(send(c->fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void say_question(struct client *c, const struct asking *asking)
{
	uint8_t bytes[512];

	say(c, bytes, framed(bytes, asking));
}

/* Whole answers so far. */
static unsigned answers(const struct client *c)
{
	unsigned count = 0;
	size_t at = 0;

	while (c->size - at >= 2 && c->size - at - 2 >= (size_t)(c->in[at] << 8 | c->in[at + 1])) {
		at += 2U + (size_t)(c->in[at] << 8 | c->in[at + 1]);
		count++;
	}
	return count;
}

static void hear(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->size, sizeof(c->in) - c->size, 0);

	if (n > 0)
		c->size += (size_t)n;
}

/* Until @count answers are there, or it is over. */
static void wait_answers(struct client *c, unsigned count)
{
	uint64_t until = clock_ms() + PATIENCE_MS;

	while (answers(c) < count && !c->result) {
		assert_true(clock_ms() < until);
		assert_int_equal(loop_run_once(&c->kit->loop, 20), 0);
		hear(c);
	}
	hear(c);
	assert_int_equal(answers(c), count);
}

static void wait_result(struct client *c, int result)
{
	uint64_t until = clock_ms() + PATIENCE_MS;

	while (!c->result) {
		assert_true(clock_ms() < until);
		assert_int_equal(loop_run_once(&c->kit->loop, 20), 0);
		hear(c);
	}
	assert_int_equal(c->result, result);
}

static void test_questions_byte_by_byte(void **state)
{
	const struct asking first = { "OK.test", A, 0x101, ASK_RD, NO_EDNS },
			    second = { "ok1.tcp.test", TXT, 0x102, ASK_RD, EDNS };
	struct client *c = client_new(*state);
	uint8_t bytes[512];
	size_t size = framed(bytes, &first);

	size += framed(bytes + size, &second);
	for (size_t i = 0; i < size; i++) {
		say(c, bytes + i, 1);
		turn(c->kit, 1);
	}
	wait_answers(c, 2);
	assert_int_equal(c->in[2] << 8 | c->in[3], 0x101);
	assert_memory_equal(c->in + 14, "\2OK\4test", 9);
	assert_string_equal(last_domain, "ok1.tcp.test");
	assert_int_equal(last_inbound, 3);
	assert_int_equal(c->kit->server.seen_tcp, 1);
	assert_int_equal(dns_flow_questions(c->flow), 2);
	shutdown(c->fd, SHUT_WR);
	wait_result(c, 1);
	client_free(c);
}

/* Also those that were sent before the end; and no more than 16 are under way. */
static void test_fifty_at_once_then_the_end(void **state)
{
	struct kit *kit = *state;
	struct client *c = client_new(kit);
	uint8_t bytes[4096], seen[50] = { 0 };
	size_t size = 0;

	for (unsigned i = 0; i < 50; i++) {
		char name[32];
		const struct asking asking = { name, A, i, ASK_RD, NO_EDNS };

		snprintf(name, sizeof(name), "%s%u.test", i % 10 ? "ok" : "late", i);
		size += framed(bytes + size, &asking);
	}
	say(c, bytes, size);
	shutdown(c->fd, SHUT_WR);
	run(c);
	assert_true(dns_flow_questions(c->flow) <= 16);
	wait_result(c, 1);
	hear(c);
	assert_int_equal(answers(c), 50);
	for (size_t at = 0; at < c->size; at += 2U + (size_t)(c->in[at] << 8 | c->in[at + 1]))
		seen[c->in[at + 3]]++;
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(seen[i], 1);
	client_free(c);
}

static void test_slow_does_not_hold_up_fast(void **state)
{
	const struct asking slow = { "silent.test", A, 1, ASK_RD, NO_EDNS },
			    fast = { "ok.test", A, 2, ASK_RD, NO_EDNS };
	struct client *c = client_new(*state);

	say_question(c, &slow);
	say_question(c, &fast);
	wait_answers(c, 1);
	assert_int_equal(c->in[3], 2);
	wait_answers(c, 2); /* SERVFAIL */
	client_free(c);
}

static void check_garbage(struct kit *kit, const void *bytes, size_t size)
{
	const struct asking good = { "ok.test", A, 9, ASK_RD, NO_EDNS };
	struct client *c = client_new(kit);

	say_question(c, &good);
	say(c, bytes, size);
	wait_result(c, 1);
	hear(c);
	assert_int_equal(answers(c), 1); /* what was asked before */
	assert_int_equal(c->in[3], 9);
	client_free(c);
}

static void test_garbage_ends_it(void **state)
{
	check_garbage(*state, "\0\0", 2);
	check_garbage(*state, "\0\3abc", 5);
	check_garbage(*state, "GET / HTTP/1.1\r\n", 16);
	check_garbage(*state, "\0\14\1\2\x81\0\0\0\0\0\0\0\0\0", 14); /* an answer */
}

static void test_refusals(void **state)
{
	const struct asking axfr = { "ok.test", 252, 5, 0, NO_EDNS };
	struct client *c = client_new(*state);

	say_question(c, &axfr);
	say(c, "\0\14\1\2\0\0\0\0\0\0\0\0\0\0", 14); /* no question */
	wait_answers(c, 2);
	assert_int_equal(c->in[5] & 15, 5);
	assert_int_equal(c->in[c->size - 9] & 15, 1);
	assert_int_equal(c->kit->server.seen, 0);
	assert_int_equal(c->result, 0);
	client_free(c);
}

static void test_reset_while_asking(void **state)
{
	const struct asking asking = { "silent.test", A, 1, ASK_RD, NO_EDNS };
	struct client *c = client_new(*state);

	say_question(c, &asking);
	turn(c->kit, 20);
	assert_int_equal(c->kit->server.seen, 1);
	close(c->fd);
	c->fd = -1;
	wait_result(c, -ECONNRESET);
	client_free(c);
}

static void test_freed_while_asking(void **state)
{
	const struct asking asking = { "silent.test", A, 1, ASK_RD, NO_EDNS };
	struct client *c = client_new(*state);
	struct kit *kit = c->kit;

	say_question(c, &asking);
	turn(kit, 20);
	client_free(c);
	turn(kit, 20);
}

/* The wheel is sent ahead by hand. */
static void pass(struct kit *kit, unsigned ms)
{
	timer_wheel_advance(&kit->loop.timers, kit->loop.timers.now_ms + ms);
}

static void test_idle_end(void **state)
{
	const struct asking asking = { "ok.test", A, 1, ASK_RD, NO_EDNS };
	struct client *c = client_new(*state);

	pass(c->kit, 9000);
	say_question(c, &asking);
	wait_answers(c, 1);
	say(c, "\0", 1); /* the half of a length is no question */
	pass(c->kit, 9000);
	turn(c->kit, 10);
	assert_int_equal(c->result, 0);
	pass(c->kit, 1002);
	assert_int_equal(c->result, 1);
	client_free(c);
}

/* Nothing is taken while 64 KiB wait, and it is over when they wait too long. */
static void test_client_that_does_not_read(void **state)
{
	struct kit *kit = *state;
	struct client *c = client_new(kit);
	const struct asking asking = { "huge.tcp.test", TXT, 1, ASK_RD, NO_EDNS };
	uint8_t bytes[512];
	size_t size = framed(bytes, &asking);
	unsigned asked = 0;

	for (int i = 0; i < 4000; i++) {
		asked += send(c->fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
		assert_int_equal(loop_run_once(&kit->loop, 0), 0);
	}
	turn(kit, 50);
	assert_true(dns_flow_questions(c->flow) < 1000);
	c->runs = 0;
	turn(kit, 50);
	assert_true(c->runs < 3); /* no loop that spins */
	assert_true(asked > dns_flow_questions(c->flow));
	for (int i = 0; i < 4000 && answers(c) < asked; i++) { /* now it reads */
		hear(c);
		assert_int_equal(loop_run_once(&kit->loop, 0), 0);
	}
	assert_int_equal(answers(c), asked);
	while (send(c->fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size)
		assert_int_equal(loop_run_once(&kit->loop, 0), 0);
	turn(kit, 50);
	pass(kit, 10002);
	assert_int_equal(c->result, 0);
	pass(kit, 10002);
	assert_int_equal(c->result, -ETIMEDOUT);
	client_free(c);
}

#define TEST(func) cmocka_unit_test_setup_teardown(func, kit_setup, kit_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_questions_byte_by_byte),
		TEST(test_fifty_at_once_then_the_end),
		TEST(test_slow_does_not_hold_up_fast),
		TEST(test_garbage_ends_it),
		TEST(test_refusals),
		TEST(test_reset_while_asking),
		TEST(test_freed_while_asking),
		TEST(test_idle_end),
		TEST(test_client_that_does_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
