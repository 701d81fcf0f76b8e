/* Ten thousand names dialed with real sockets, many at a time, most of them cancelled on the way: nothing may
 * be left over, whenever that happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/cleanup.h"
#include "dial/direct.h"
#include "dial/packet.h"
#include "dial/race.h"
#include "fake_resolver.h"
#include "net/sock.h"

#define DIALS   10000
#define SLOTS   64
#define SERVERS 3 /* 127.0.0.1 never answers, .2 refuses, .3 accepts, so does ::1 */

struct slot {
	struct crowd *crowd;
	struct race_dialer race;
	struct dial *dial;
	struct trace trace;
	unsigned turns; /* left before it is cancelled */
	bool busy;
};

struct crowd {
	struct loop loop;
	struct resolver resolver;
	struct dial_env env;
	struct direct_dialer direct;
	int full[3];    /* 127.0.0.1: a listener, and who fills its queue */
	int accepts[2]; /* 127.0.0.3, ::1 */
	in_port_t port;
	struct slot slots[SLOTS];
	unsigned started, refused, won, ways, failed, cancelled;
};

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static unsigned below(unsigned limit)
{
	return (unsigned)rand() % limit;
}

/* Servers */

static struct addr server_addr(const struct crowd *c, enum dns_type type, unsigned number)
{
	struct addr addr = fake_addr(type, number);

	addr.port = c->port;
	return addr;
}

/* -1: this host has no IPv6. */
static int serve(const struct crowd *c, enum dns_type type, unsigned number, int backlog)
{
	struct addr addr = server_addr(c, type, number);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, &sa);
	int fd = socket(addr.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (type == DNS_AAAA && (fd < 0 || bind(fd, (struct sockaddr *)&sa, len))) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (type == DNS_A)
		assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void serve_all(struct crowd *c)
{
	struct addr addr;
	struct sockaddr_storage sa;
	socklen_t len;

	c->full[0] = serve(c, DNS_A, 1, 0);
	assert_int_equal(sock_local_addr(c->full[0], &addr), 0);
	c->port = addr.port;
	len = addr_to_sockaddr(&addr, &sa);
	for (int i = 1; i < 3; i++) { /* a backlog of 0 has room for one */
		c->full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		assert_true(connect(c->full[i], (struct sockaddr *)&sa, len) == 0 ||
			    errno == EINPROGRESS);
	}
	c->accepts[0] = serve(c, DNS_A, 3, 1000);
	c->accepts[1] = serve(c, DNS_AAAA, 1, 1000);
}

static void accept_all(const struct crowd *c)
{
	for (int i = 0; i < 2; i++) {
		int fd;

		while ((fd = accept4(c->accepts[i], NULL, NULL, SOCK_CLOEXEC)) >= 0)
			close(fd);
	}
}

static void close_all(const struct crowd *c)
{
	for (int i = 0; i < 3; i++)
		close(c->full[i]);
	for (int i = 0; i < 2; i++)
		if (c->accepts[i] >= 0)
			close(c->accepts[i]);
}

/* Dials */

static void never(struct loop_io *io)
{
	fail();
}

static void slot_over(struct slot *slot)
{
	assert_true(slot->trace.count > 0 && !slot->trace.dropped);
	for (unsigned i = 0; i < slot->trace.count; i++)
		assert_int_not_equal(slot->trace.list[i].err, -EINPROGRESS);
	trace_deinit(&slot->trace);
	slot->busy = false;
	slot->dial = NULL;
}

static void on_done(void *owner, const struct dial_result *result)
{
	struct slot *slot = owner;
	struct loop_io io;

	assert_true(slot->busy);
	if (result->packet) {
		slot->crowd->ways++;
		packet_close(result->packet);
	} else if (!result->err && below(8)) { /* some leave it where it is */
		assert_int_equal(loop_io_move(&io, result->io, never), 0);
		assert_int_equal(sock_set_reset_on_close(io.fd), 0);
		loop_io_close(&io);
	}
	*(result->err ? &slot->crowd->failed : &slot->crowd->won) += 1;
	slot_over(slot);
}

static void new_answer(struct fake_answer *answer, unsigned most)
{
	*answer = (struct fake_answer){ .delay_ms = below(4), .count = below(most + 1) };
	if (!answer->count)
		answer->status = DNS_NO_NAME + below(DNS_STATUS_COUNT - 1);
	if (!below(20))
		answer->refuse = -ENOMEM;
}

static void slot_start(struct crowd *c, struct slot *slot)
{
	const struct dial_request request = { .env = &c->env,
					      .type = below(3) ? SOCK_STREAM : SOCK_DGRAM,
					      .one_peer = below(2),
					      .target = { .domain = "both.test",
							  .addr.port = c->port },
					      .trace = &slot->trace,
					      .done = on_done,
					      .owner = slot };
	const char *call = NULL;

	slot->crowd = c;
	slot->race = (struct race_dialer){ .base.ops = &dial_race_ops,
					   .via = &c->direct.base,
					   .server = 3,
					   .strategy = below(STRATEGY_COUNT),
					   .attempt_delay_ms = below(4),
					   .fallback_delay_ms = below(4),
					   .resolution_delay_ms = below(3),
					   .serial = !below(4) };
	new_answer(&c->resolver.script[DNS_A], SERVERS);
	new_answer(&c->resolver.script[DNS_AAAA], 1);
	trace_init(&slot->trace, c->loop.now_ms);
	slot->turns = below(request.type == SOCK_DGRAM ? 3 : 12); /* a way is soon there */
	slot->busy = true;
	c->started++;
	if (dial_start(&slot->dial, &slot->race.base, &request, &call)) {
		assert_non_null(call);
		c->refused++;
		slot_over(slot);
	}
}

static void slot_turn(struct crowd *c, struct slot *slot)
{
	if (slot->busy && !slot->turns--) {
		dial_cancel(slot->dial, below(2));
		c->cancelled++;
		slot_over(slot);
	}
	if (!slot->busy && c->started < DIALS)
		slot_start(c, slot);
}

static bool busy(const struct crowd *c)
{
	for (int i = 0; i < SLOTS; i++)
		if (c->slots[i].busy)
			return true;
	return false;
}

static void test_nothing_is_left(void **state)
{
	struct crowd *c = calloc(1, sizeof(*c));
	unsigned fds;

	assert_non_null(c);
	srand(1514);
	assert_int_equal(loop_init(&c->loop), 0);
	serve_all(c);
	fds = open_fds();
	c->resolver.loop = &c->loop;
	c->env = (struct dial_env){ .loop = &c->loop, .resolver = &c->resolver };
	c->direct = (struct direct_dialer){ .base.ops = &dial_direct_ops,
					    .connect_timeout_ms = 30 };
	do {
		for (int i = 0; i < SLOTS; i++)
			slot_turn(c, &c->slots[i]);
		assert_int_equal(loop_run_once(&c->loop, 1), 0);
		accept_all(c);
	} while (c->started < DIALS || busy(c));
	assert_int_equal(open_fds(), fds);
	assert_int_equal(c->loop.io_count, 0);
	assert_true(timer_wheel_empty(&c->loop.timers));
	assert_int_equal(c->resolver.pending, 0);
	assert_int_equal(c->refused + c->won + c->failed + c->cancelled, DIALS);
	print_message("%u refused, %u won (%u for datagrams), %u failed, %u cancelled\n",
		      c->refused, c->won, c->ways, c->failed, c->cancelled);
	assert_true(c->ways > DIALS / 1000);
	/* Some of each: how many depends on how fast the machine is. */
	assert_true(c->refused > DIALS / 1000 && c->won > DIALS / 1000 &&
		    c->failed > DIALS / 1000 && c->cancelled > DIALS / 100);
	close_all(c);
	loop_deinit(&c->loop);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_nothing_is_left) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
