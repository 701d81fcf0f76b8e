/* Clients are answered by whoever they asked, by few sockets, and a service of this host keeps its traffic. In a
 * network namespace of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/resource.h>
#include "../kern/netns.h"
#include "base/cleanup.h"
#include "flow/udp_reply.h"
#include "net/sock.h"

#define FOREIGN "192.0.2.7"
#define OURS    "10.9.0.1"

static struct loop loop;
static struct datagram_batch *batch;
static struct datagram last; /* received */
static unsigned received;
static bool deinit_inside;
static struct udp_replies replies;

static struct addr at(const char *text, uint16_t port)
{
	struct addr addr = address(text);

	addr.port = port;
	return addr;
}

static void on_received(void *owner, const struct datagram *list, unsigned count)
{
	assert_ptr_equal(owner, &received);
	last = list[count - 1];
	received += count;
	if (deinit_inside)
		udp_replies_deinit(&replies);
}

static void begin(uint32_t capacity)
{
	received = 0;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(datagram_batch_new(&batch), 0);
	replies = (struct udp_replies){ .loop = &loop,
					.batch = batch,
					.received = on_received,
					.owner = &received,
					.capacity = capacity };
	assert_int_equal(udp_replies_init(&replies), 0);
}

static void end(unsigned fds)
{
	udp_replies_deinit(&replies);
	udp_replies_deinit(&replies);
	assert_int_equal(replies.stats.open, 0);
	datagram_batch_free(batch);
	loop_deinit(&loop);
	assert_int_equal(open_fds(), fds);
}

static int bound(const char *text, uint16_t port, bool reuse, struct addr *ret)
{
	struct addr addr = at(text, port);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&addr, &sa);
	int fd = socket(addr.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (reuse)
		assert_int_equal(sock_set_reuse(fd), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(sock_local_addr(fd, ret), 0);
	return fd;
}

static int say(int fd, const struct addr *to, const char *text)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(to, &sa);

	return (int)sendto(fd, text, strlen(text), 0, (struct sockaddr *)&sa, len);
}

/* The next datagram is @text, and of @from. */
static void hears(int fd, const struct addr *from, const char *text)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char got[64] = "";
	struct addr who;

	assert_true(recvfrom(fd, got, sizeof(got) - 1, 0, (struct sockaddr *)&sa, &len) >= 0);
	assert_string_equal(got, text);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&sa, &who), 0);
	assert_true(addr_equal(&who, from));
}

static struct datagram_sent answer(const struct addr *from, const struct addr *to, const char *text)
{
	const struct datagram datagram = { .source = at("127.9.9.9", 9),
					   .destination = at("127.9.9.9", 9),
					   .data = (const uint8_t *)text,
					   .len = strlen(text) };
	struct datagram_sent sent;

	udp_reply_send(&replies, from, to, &datagram, 1, &sent);
	return sent;
}

static void answered(const struct addr *from, const struct addr *to, const char *text)
{
	struct datagram_sent sent = answer(from, to, text);

	assert_int_equal(sent.err, 0);
	assert_int_equal(sent.failed, 0);
	assert_int_equal(sent.sent, 1);
}

static void turns(void)
{
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(&loop, 0), 0);
}

static void test_shared(void **state)
{
	unsigned fds = open_fds();
	struct addr one, two, from = at(FOREIGN, 53), other = at(FOREIGN, 54), six;
	struct addr from6 = at("2001:db8::7", 53);
	defer_close int a = bound("127.0.0.1", 0, false, &one);
	defer_close int b = bound("127.0.0.2", 0, false, &two);
	defer_close int c = bound("::1", 0, false, &six);

	begin(10);
	answered(&from, &one, "first");
	answered(&from, &two, "second");
	hears(a, &from, "first");
	hears(b, &from, "second");
	assert_int_equal(replies.stats.opened, 1);
	answered(&other, &two, "other port");
	hears(b, &other, "other port");
	answered(&from6, &six, "");
	hears(c, &from6, "");
	assert_int_equal(replies.stats.opened, 3);
	assert_int_equal(replies.stats.open, 3);
	end(fds + 3);
}

static void test_many(void **state)
{
	static char text[DATAGRAM_BATCH * 2 + 1][8];
	struct datagram list[DATAGRAM_BATCH * 2 + 1];
	unsigned fds = open_fds();
	struct addr one, from[] = { at(FOREIGN, 53), at(OURS, 53) };
	defer_close int a = bound("127.0.0.1", 0, false, &one);
	struct datagram_sent sent;

	for (unsigned i = 0; i < DATAGRAM_BATCH * 2 + 1; i++) {
		int len = snprintf(text[i], sizeof(text[i]), "%u", i);

		list[i] = (struct datagram){ .data = (uint8_t *)text[i], .len = (size_t)len };
	}
	begin(10);
	for (int kind = 0; kind < 2; kind++) {
		udp_reply_send(&replies, &from[kind], &one, list, DATAGRAM_BATCH * 2 + 1, &sent);
		assert_int_equal(sent.sent, DATAGRAM_BATCH * 2 + 1);
		for (unsigned i = 0; i < DATAGRAM_BATCH * 2 + 1; i++)
			hears(a, &from[kind], text[i]);
	}
	end(fds + 1);
}

static void test_bounded(void **state)
{
	unsigned fds = open_fds();
	struct addr one, from[3] = { at(FOREIGN, 1), at(FOREIGN, 2), at(FOREIGN, 3) };
	defer_close int a = bound("127.0.0.1", 0, false, &one);

	begin(2);
	answered(&from[0], &one, "0");
	hears(a, &from[0], "0");
	answered(&from[1], &one, "1");
	answered(&from[0], &one, "0"); /* 1 is unused the longest */
	answered(&from[2], &one, "2");
	assert_int_equal(replies.stats.evicted, 1);
	assert_int_equal(replies.stats.open, 2);
	answered(&from[0], &one, "0");
	assert_int_equal(replies.stats.opened, 3);
	answered(&from[1], &one, "1");
	assert_int_equal(replies.stats.opened, 4);
	assert_int_equal(replies.stats.evicted, 2);
	end(fds + 1);
}

/* At our own address, whether the service shares its port or not. */
static void test_service(void **state)
{
	unsigned fds = open_fds();

	for (int reuse = 0; reuse < 2; reuse++) {
		struct addr client, stranger, service, from = at(OURS, 5353);
		defer_close int a = bound("127.0.0.1", 0, false, &client);
		defer_close int b = bound("127.0.0.2", 0, false, &stranger);
		defer_close int s = bound(OURS, 5353, reuse, &service);

		begin(10);
		answered(&from, &client, "for you");
		hears(a, &from, "for you");
		assert_true(say(b, &from, "for the service") > 0);
		hears(s, &stranger, "for the service");
		assert_true(say(a, &from, "for the service, too") > 0);
		hears(s, &client, "for the service, too");
		answered(&from, &client, "again");
		hears(a, &from, "again");
		answered(&from, &stranger, "by the same");
		hears(b, &from, "by the same");
		turns();
		assert_int_equal(received, 0);
		assert_int_equal(replies.stats.opened, 1);
		end(fds + 3);
	}
}

/* A service on all addresses keeps its port to itself: nobody else's address can be bound to that. */
static void test_in_use(void **state)
{
	static const char *const any[] = { "0.0.0.0", "::" };
	static const char *const froms[] = { FOREIGN, "2001:db8::7" };
	static const char *const clients[] = { "127.0.0.1", "::1" };
	unsigned fds = open_fds();

	for (int i = 0; i < 2; i++) {
		struct addr client, service, from = at(froms[i], 5353);
		defer_close int a = bound(clients[i], 0, false, &client);
		defer_close int s = bound(any[i], 5353, false, &service);
		struct addr to = at(clients[i], 5353);

		begin(10);
		answered(&from, &client, "all the same");
		hears(a, &from, "all the same");
		answered(&from, &client, "again");
		hears(a, &from, "again");
		assert_int_equal(replies.stats.opened, 1);
		assert_true(say(a, &to, "as before") > 0);
		hears(s, &client, "as before");
		end(fds + 2);
	}
}

/* One raw socket more than there is room for; those of both kinds are closed. */
static void test_bounded_raw(void **state)
{
	unsigned fds = open_fds();
	struct addr one, foreign = at(FOREIGN, 1);
	defer_close int a = bound("127.0.0.1", 0, false, &one);

	begin(2);
	for (uint16_t port = 1; port <= 5; port++) {
		struct addr from = at(OURS, port);

		answered(&from, &one, "x");
		hears(a, &from, "x");
	}
	answered(&foreign, &one, "y");
	hears(a, &foreign, "y");
	assert_int_equal(replies.stats.opened, 6);
	assert_int_equal(replies.stats.evicted, 4);
	assert_int_equal(replies.stats.open, 2);
	end(fds + 1);
}

static void test_refused(void **state)
{
	unsigned fds = open_fds();
	struct addr client, foreign = at(FOREIGN, 53), ours = at(OURS, 53);
	defer_close int a = bound("127.0.0.1", 0, false, &client);
	int loop_epoll;
	struct datagram_sent sent;
	struct rlimit limit, none = { 0 };

	begin(10);
	loop_epoll = loop.epoll_fd;
	loop.epoll_fd = -1; /* refused there */
	sent = answer(&foreign, &client, "no");
	loop.epoll_fd = loop_epoll;
	assert_int_equal(sent.err, -EBADF);
	assert_int_equal(sent.failed, 1);
	assert_int_equal(sent.sent, 0);
	assert_int_equal(replies.stats.failed, 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none.rlim_max = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	sent = answer(&ours, &client, "no");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(sent.err, -EMFILE);
	assert_int_equal(sent.failed, 1);
	assert_int_equal(replies.stats.failed, 2);
	assert_int_equal(replies.stats.open + replies.stats.opened, 0);
	end(fds + 1);
}

/* What ICMP says of a client that is gone keeps no loop awake, and no answer back. */
static void test_gone(void **state)
{
	unsigned fds = open_fds();
	struct addr client, from[] = { at(OURS, 5353), at(FOREIGN, 5353) };
	int a = bound("127.0.0.1", 0, false, &client);

	begin(10);
	close(a);
	for (int i = 0; i < 6; i++)
		answered(&from[i % 2], &client, "nobody there");
	turns();
	assert_true(list_empty(&loop.ready));
	assert_int_equal(received, 0);
	end(fds);
}

/* The address becomes deliverable after the socket was opened: it is one for all. */
static void test_received(void **state)
{
	unsigned fds = open_fds();
	struct addr client, from = at("198.51.100.7", 53);
	defer_close int a = bound("127.0.0.1", 0, false, &client);

	begin(10);
	answered(&from, &client, "x");
	assert_true(run("ip route add local 198.51.100.0/24 dev lo"));
	for (unsigned i = 0; i < 3; i++)
		assert_true(say(a, &from, "more") > 0);
	turns();
	assert_int_equal(received, 3);
	assert_true(addr_equal(&last.source, &client));
	assert_true(addr_equal(&last.destination, &from));
	assert_int_equal(last.len, 4);
	turns(); /* it sleeps again */
	assert_true(list_empty(&loop.ready));
	assert_true(say(a, &from, "last") > 0);
	deinit_inside = true;
	turns();
	deinit_inside = false;
	assert_int_equal(received, 4);
	end(fds + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared),  cmocka_unit_test(test_many),
		cmocka_unit_test(test_bounded), cmocka_unit_test(test_service),
		cmocka_unit_test(test_in_use),  cmocka_unit_test(test_received),
		cmocka_unit_test(test_gone),    cmocka_unit_test(test_bounded_raw),
		cmocka_unit_test(test_refused),
	};

	if (!enter_netns())
		return skipped("no network namespaces");
	if (!run("ip link set lo up\nip addr add " OURS "/32 dev lo"))
		return skipped("no addresses");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
