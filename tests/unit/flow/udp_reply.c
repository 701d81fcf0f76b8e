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

#define FOREIGN     "192.0.2.7"
#define FOREIGN_TOO "192.0.2.8"
#define OURS        "10.9.0.1"
#define OURS6       "fd09::1"
#define CLIENTS     2000

/* Only has to be open. */
#define HELD        __attribute__((unused)) defer_close

static struct udp_replies replies;

static struct addr at(const char *text, uint16_t port)
{
	struct addr addr = address(text);

	addr.port = port;
	return addr;
}

static void begin(uint32_t capacity)
{
	replies = (struct udp_replies){ .capacity = capacity };
	assert_int_equal(udp_replies_init(&replies), 0);
}

static void end(unsigned fds)
{
	udp_replies_deinit(&replies);
	udp_replies_deinit(&replies);
	assert_int_equal(replies.stats.open, 0);
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

static void test_shared(void **state)
{
	unsigned fds = open_fds();
	struct addr one, two, from = at(FOREIGN, 53), other = at(FOREIGN, 54), six;
	struct addr more = at(FOREIGN_TOO, 53), ours = at(OURS, 53);
	struct addr from6 = at("2001:db8::7", 53), more6 = at("2001:db8::8", 53);
	defer_close int a = bound("127.0.0.1", 0, false, &one);
	defer_close int b = bound("127.0.0.2", 0, false, &two);
	defer_close int c = bound("::1", 0, false, &six);

	begin(10);
	answered(&from, &one, "first");
	answered(&from, &two, "second");
	hears(a, &from, "first");
	hears(b, &from, "second");
	answered(&more, &two, "third");
	hears(b, &more, "third");
	answered(&ours, &one, "fourth");
	hears(a, &ours, "fourth");
	answered(&from, &one, "fifth");
	hears(a, &from, "fifth");
	assert_int_equal(replies.stats.opened, 1);
	answered(&other, &two, "other port");
	hears(b, &other, "other port");
	answered(&from6, &six, "");
	hears(c, &from6, "");
	answered(&more6, &six, "more");
	hears(c, &more6, "more");
	assert_int_equal(replies.stats.opened, 3);
	assert_int_equal(replies.stats.open, 3);
	end(fds + 3);
}

static void test_many(void **state)
{
	static char text[DATAGRAM_BATCH * 2 + 1][8];
	struct datagram list[DATAGRAM_BATCH * 2 + 1];
	unsigned fds = open_fds();
	struct addr one, any, from[] = { at(FOREIGN, 53), at(FOREIGN, 54) };
	defer_close int a = bound("127.0.0.1", 0, false, &one);
	HELD int s = bound("0.0.0.0", 54, false, &any); /* so that one is raw */
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
	end(fds + 2);
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

/* At our own address, or on all and shared; each fresh client's datagram is the service's, at whatever moment of
 * an answer's socket it comes. */
static void keeps(const char *text, const char *local, const char *service_text, bool reuse)
{
	unsigned fds = open_fds();
	struct addr client, service, from = at(text, 5353);
	defer_close int a = bound(local, 0, false, &client);
	defer_close int s = bound(service_text, 5353, reuse, &service);

	for (unsigned i = 0; i < CLIENTS; i++) {
		struct addr stranger;
		defer_close int b = bound(local, 0, false, &stranger);

		if (i % 100 == 0)
			begin(10);
		answered(&from, &client, "for you");
		assert_true(say(b, &from, "for the service") > 0);
		hears(a, &from, "for you");
		hears(s, &stranger, "for the service");
		answered(&from, &stranger, "by the same");
		hears(b, &from, "by the same");
		assert_true(say(a, &from, "too") > 0);
		hears(s, &client, "too");
		assert_int_equal(replies.stats.opened, 1);
		if (i % 100 == 99)
			udp_replies_deinit(&replies);
	}
	end(fds + 2);
}

static void test_service(void **state)
{
	for (int reuse = 0; reuse < 2; reuse++) {
		keeps(OURS, "127.0.0.1", OURS, reuse);
		keeps(OURS6, "::1", OURS6, reuse);
	}
	keeps(OURS, "127.0.0.1", "0.0.0.0", true);
	keeps(OURS6, "::1", "::", true);
}

/* A service on all addresses keeps its port to itself. */
static void test_in_use(void **state)
{
	keeps(OURS, "127.0.0.1", "0.0.0.0", false);
	keeps(OURS6, "::1", "::", false);
	keeps(OURS, "127.0.0.1", "::", false);
}

/* A raw socket is of one address, what is bound to a port comes first, and the address that it is bound to is as any
 * other. */
static void test_in_use_by_many(void **state)
{
	static const char *const texts[] = { FOREIGN, "192.0.2.1", FOREIGN_TOO, OURS };
	static const char *const texts6[] = { "2001:db8::7", "100::1", "2001:db8::8", OURS6 };
	unsigned fds = open_fds();

	for (int six = 0; six < 2; six++) {
		struct addr client, service, from[4];
		defer_close int a = bound(six ? "::1" : "127.0.0.1", 0, false, &client);
		int s = bound(six ? "::" : "0.0.0.0", 5353, false, &service);

		begin(10);
		for (int n = 0; n < 12; n++) {
			from[n % 4] = at(six ? texts6[n % 4] : texts[n % 4], 5353);
			if (n == 8)
				close(s); /* now the port is free, which is not found out */
			answered(&from[n % 4], &client, "all the same");
			hears(a, &from[n % 4], "all the same");
			assert_int_equal(replies.stats.opened, n < 4 ? n + 1 : 4);
		}
		from[0] = at(six ? "2001:db8::9" : "192.0.2.9", 5353);
		for (int n = 0; n < 4; n++) { /* until somebody new answers */
			answered(&from[n], &client, "by one");
			hears(a, &from[n], "by one");
			assert_int_equal(replies.stats.opened, 5);
		}
		end(fds + 1);
	}
}

/* One raw socket more than there is room for; those of both kinds are closed. */
static void test_bounded_raw(void **state)
{
	static const char *const texts[] = { FOREIGN, FOREIGN_TOO, OURS, "192.0.2.1", "192.0.2.9" };
	unsigned fds = open_fds();
	struct addr one, any, free_port = at(FOREIGN, 1);
	defer_close int a = bound("127.0.0.1", 0, false, &one);
	HELD int s = bound("0.0.0.0", 5353, false, &any);

	begin(2);
	for (int i = 0; i < 5; i++) {
		struct addr from = at(texts[i], 5353);

		answered(&from, &one, "x");
		hears(a, &from, "x");
	}
	answered(&free_port, &one, "y");
	hears(a, &free_port, "y");
	assert_int_equal(replies.stats.opened, 6);
	assert_int_equal(replies.stats.evicted, 4);
	assert_int_equal(replies.stats.open, 2);
	assert_int_equal(open_fds(), fds + 4);
	end(fds + 2);
}

static void test_refused(void **state)
{
	unsigned fds = open_fds();
	struct addr client, from = at(FOREIGN, 53);
	defer_close int a = bound("127.0.0.1", 0, false, &client);
	struct datagram_sent sent;
	struct rlimit limit, none = { 0 };

	begin(10);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none.rlim_max = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	sent = answer(&from, &client, "no");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(sent.err, -EMFILE);
	assert_int_equal(sent.failed, 1);
	assert_int_equal(sent.sent, 0);
	assert_int_equal(replies.stats.failed, 1);
	assert_int_equal(replies.stats.open + replies.stats.opened, 0);
	answered(&from, &client, "yes");
	hears(a, &from, "yes");
	end(fds + 1);
}

/* Addresses that nobody can have, by which sockets of a port might be found. */
static void test_nobody(void **state)
{
	static const char *const texts[] = { "0.0.0.0", "::", FOREIGN, "2001:db8::7" };
	unsigned fds = open_fds();
	struct addr any, clients[2], good = at(FOREIGN, 5353);
	HELD int s = bound("0.0.0.0", 5353, false, &any);
	defer_close int a = bound("127.0.0.1", 0, false, &clients[0]);
	HELD int b = bound("::1", 0, false, &clients[1]);

	begin(10);
	for (int i = 0; i < 4; i++)
		for (uint16_t port = 5353; port < 5355; port++) {
			struct addr from = at(texts[i], i < 2 ? port : 0);
			struct datagram_sent sent = answer(&from, &clients[i % 2], "no");

			assert_int_equal(sent.err, -EADDRNOTAVAIL);
			assert_int_equal(sent.failed, 1);
		}
	assert_int_equal(replies.stats.open, 0);
	answered(&good, &clients[0], "yes");
	hears(a, &good, "yes");
	end(fds + 3);
}

/* What ICMP says of a client that is gone keeps no answer back. */
static void test_gone(void **state)
{
	unsigned fds = open_fds();
	struct addr client, any, from[] = { at(FOREIGN, 5353), at(FOREIGN, 5354) };
	HELD int s = bound("0.0.0.0", 5354, false, &any); /* so that one is raw */
	int a = bound("127.0.0.1", 0, false, &client);

	begin(10);
	close(a);
	for (int i = 0; i < 6; i++)
		answered(&from[i % 2], &client, "nobody there");
	end(fds + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared),      cmocka_unit_test(test_many),
		cmocka_unit_test(test_bounded),     cmocka_unit_test(test_service),
		cmocka_unit_test(test_in_use),      cmocka_unit_test(test_in_use_by_many),
		cmocka_unit_test(test_bounded_raw), cmocka_unit_test(test_gone),
		cmocka_unit_test(test_refused),     cmocka_unit_test(test_nobody),
	};

	if (!enter_netns())
		return skipped("no network namespaces");
	if (!run("ip link set lo up\nip addr add " OURS "/32 dev lo\n"
		 "ip addr add " OURS6 "/128 dev lo nodad"))
		return skipped("no addresses");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
