/* The sender of a datagram is told that nobody is there, by whom it was sent to. */
#include "router.h"
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <poll.h>
#include "net/icmp.h"
#include "net/tproxy.h"

static struct datagram_batch *batch;
static uint8_t bytes[70000];
static struct addr servers[2];
static int listener;
static struct icmp icmp = { -1, -1 };

/* The client sends @len bytes, and hears that the port is not there. */
static void is_refused(const struct addr *server, size_t len)
{
	int client = client_socket(server->family, server);
	int bystander = client_socket(server->family, server);
	struct datagram one = { .data = bytes, .len = len };
	const struct datagram *got;
	struct addr source, destination;

	send_all(client, &one, 1);
	got = receive_one(batch, listener);
	source = got->source;
	destination = got->destination;
	assert_addr(&destination, server);
	assert_int_equal(icmp_port_unreachable(&icmp, &source, &destination, got->data, got->len),
			 0);
	assert_int_equal(receive(batch, client, &got), -ECONNREFUSED);
	assert_int_equal(datagram_receive(batch, bystander, &got), -EAGAIN);
	close(client);
	close(bystander);
}

static void test_client_is_told(void **state)
{
	static const size_t lens[] = { 0, 1, 519, 520, 521, 1183, 1184, 1185, 65507 };

	for (int i = 0; i < 2; i++)
		for (size_t j = 0; j < sizeof(lens) / sizeof(lens[0]); j++)
			is_refused(&servers[i], lens[j]);
}

/* The sum of 16-bit words that RFC 1071 wants to be 0xffff. */
static uint32_t sum_of(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < len; i++) {
		sum += (uint32_t)at[i] << (i % 2 ? 0 : 8);
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static int raw_of_client(sa_family_t family, int protocol)
{
	int fd;

	enter(client_fd);
	fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol);
	enter(router_fd);
	assert_true(fd >= 0);
	return fd;
}

/* As much as came within a second. */
static size_t capture(int fd, uint8_t *packet, size_t size)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	ssize_t len;

	assert_int_equal(poll(&ready, 1, 1000), 1);
	len = recv(fd, packet, size, 0);
	assert_true(len > 0);
	return (size_t)len;
}

/* Headers, lengths and checksums, field by field. */
static void packet4_is_right(int raw, size_t len)
{
	struct addr source = address(CLIENT4, 4711), server = servers[0];
	size_t quoted = len < 520 ? len : 520, total;
	struct ip outer, inner;
	struct udphdr udp;
	uint8_t packet[2000];

	assert_int_equal(icmp_port_unreachable(&icmp, &source, &server, bytes, len), 0);
	total = capture(raw, packet, sizeof(packet));
	assert_int_equal(total, 56 + quoted);
	memcpy(&outer, packet, sizeof(outer));
	memcpy(&inner, packet + 28, sizeof(inner));
	memcpy(&udp, packet + 48, sizeof(udp));
	assert_int_equal(ntohs(outer.ip_len), total);
	assert_int_equal(outer.ip_src.s_addr, server.v4.s_addr);
	assert_int_equal(outer.ip_tos, 0xc0);
	assert_int_equal(packet[20], 3);
	assert_int_equal(packet[21], 3);
	assert_int_equal(sum_of(0, packet + 20, total - 20), 0xffff);
	assert_int_equal(sum_of(0, &inner, 20), 0xffff);
	assert_int_equal(ntohs(inner.ip_len), 28 + len);
	assert_int_equal(inner.ip_src.s_addr, source.v4.s_addr);
	assert_int_equal(inner.ip_dst.s_addr, server.v4.s_addr);
	assert_int_equal(inner.ip_p, IPPROTO_UDP);
	assert_int_equal(ntohs(udp.uh_sport), 4711);
	assert_int_equal(ntohs(udp.uh_dport), server.port);
	assert_int_equal(ntohs(udp.uh_ulen), 8 + len);
	assert_memory_equal(packet + 56, bytes, quoted);
	assert_int_equal(sum_of(sum_of(sum_of(17 + 8 + (uint32_t)len, &inner.ip_src, 8), &udp, 8),
				bytes, len),
			 0xffff);
}

static void packet6_is_right(int raw, size_t len)
{
	struct addr source = address(CLIENT6, 4711), server = servers[1];
	size_t quoted = len < 1184 ? len : 1184, total;
	struct ip6_hdr inner;
	struct udphdr udp;
	uint8_t packet[2000];

	assert_int_equal(icmp_port_unreachable(&icmp, &source, &server, bytes, len), 0);
	total = capture(raw, packet,
			sizeof(packet)); /* from ICMPv6 on; its checksum was verified */
	assert_int_equal(total, 56 + quoted);
	memcpy(&inner, packet + 8, sizeof(inner));
	memcpy(&udp, packet + 48, sizeof(udp));
	assert_int_equal(packet[0], ICMP6_DST_UNREACH);
	assert_int_equal(packet[1], ICMP6_DST_UNREACH_NOPORT);
	assert_int_equal(ntohs(inner.ip6_plen), 8 + len);
	assert_int_equal(inner.ip6_nxt, IPPROTO_UDP);
	assert_memory_equal(&inner.ip6_src, &source.v6, 16);
	assert_memory_equal(&inner.ip6_dst, &server.v6, 16);
	assert_int_equal(ntohs(udp.uh_sport), 4711);
	assert_int_equal(ntohs(udp.uh_dport), server.port);
	assert_int_equal(ntohs(udp.uh_ulen), 8 + len);
	assert_memory_equal(packet + 56, bytes, quoted);
	assert_int_equal(sum_of(sum_of(sum_of(17 + 8 + (uint32_t)len, &inner.ip6_src, 32), &udp, 8),
				bytes, len),
			 0xffff);
}

static void test_packets(void **state)
{
	static const size_t lens[] = { 0, 1, 100, 519, 520, 521, 1183, 1184, 1185, 1500, 65507 };
	int raw4 = raw_of_client(AF_INET, IPPROTO_ICMP);
	int raw6 = raw_of_client(AF_INET6, IPPROTO_ICMPV6);
	struct icmp6_filter filter;

	ICMP6_FILTER_SETBLOCKALL(&filter);
	ICMP6_FILTER_SETPASS(ICMP6_DST_UNREACH, &filter);
	assert_int_equal(setsockopt(raw6, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)),
			 0);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		packet4_is_right(raw4, lens[i]);
		packet6_is_right(raw6, lens[i]);
	}
	close(raw4);
	close(raw6);
}

/* A sum that comes out as 0 is written as 0xffff. */
static void test_checksum_is_never_none(void **state)
{
	struct addr source = address(CLIENT4, 0);
	int raw = raw_of_client(AF_INET, IPPROTO_ICMP);
	uint8_t packet[100];

	for (int port = 0; port < 0x10000; port += 0x101) {
		uint8_t data[2] = { 0 };
		struct ip inner;
		struct udphdr udp = { .uh_ulen = htons(10) };
		uint32_t sum;

		source.port = (in_port_t)port;
		udp.uh_sport = htons(source.port);
		udp.uh_dport = htons(servers[0].port);
		inner.ip_src = source.v4;
		inner.ip_dst = servers[0].v4;
		sum = 0xffff ^ sum_of(sum_of(17 + 10, &inner.ip_src, 8), &udp, 8);
		data[0] = (uint8_t)(sum >> 8);
		data[1] = (uint8_t)sum;
		assert_int_equal(icmp_port_unreachable(&icmp, &source, &servers[0], data, 2), 0);
		assert_int_equal(capture(raw, packet, sizeof(packet)), 58);
		assert_int_equal(packet[54] << 8 | packet[55], 0xffff);
	}
	close(raw);
}

static void test_refused(void **state)
{
	static const char *const no_hosts[] = { "0.0.0.0", "255.255.255.255", "224.0.0.251",
						"::", "ff02::fb" };
	struct addr client4 = address(CLIENT4, 4711), client6 = address(CLIENT6, 4711);
	struct addr nobody = { .family = AF_UNSPEC }, away = address("192.0.2.9", 9);
	struct icmp none = { -1, -1 };

	for (int i = 0; i < 5; i++) {
		struct addr no_host = address(no_hosts[i], 53);
		struct addr *client = no_host.family == AF_INET ? &client4 : &client6;

		assert_int_equal(icmp_port_unreachable(&icmp, client, &no_host, bytes, 1), -EINVAL);
		assert_int_equal(icmp_port_unreachable(&icmp, &no_host, client, bytes, 1), -EINVAL);
	}
	assert_int_equal(icmp_port_unreachable(&icmp, &client4, &servers[1], bytes, 1), -EINVAL);
	assert_int_equal(icmp_port_unreachable(&icmp, &client4, &nobody, bytes, 1), -EINVAL);
	assert_int_equal(icmp_port_unreachable(&icmp, &nobody, &nobody, bytes, 1), -EINVAL);
	assert_int_equal(icmp_port_unreachable(&icmp, &client4, &servers[0], bytes, 65528),
			 -EINVAL);
	assert_int_equal(icmp_port_unreachable(&icmp, &away, &servers[0], bytes, 1), -ENETUNREACH);
	assert_int_equal(icmp_port_unreachable(&none, &client4, &servers[0], bytes, 1),
			 -EAFNOSUPPORT);
	assert_int_equal(icmp_port_unreachable(&none, &client6, &servers[1], bytes, 1),
			 -EAFNOSUPPORT);
	icmp_close(&none);
}

static void test_open(void **state)
{
	unsigned fds = open_fds();
	struct icmp other = { -1, -1 };

	assert_int_equal(icmp_open(&other, 4711), 0);
	assert_int_equal(sock_mark(other.fd4), 4711);
	assert_int_equal(sock_mark(other.fd6), 4711);
	icmp_close(&other);
	assert_int_equal(other.fd4, -1);
	assert_int_equal(other.fd6, -1);
	icmp_close(&other);
	assert_int_equal(open_fds(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_client_is_told),
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_checksum_is_never_none),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_open),
	};
	struct addr any;
	const char *call;
	int failed;

	if (!make_router() || datagram_batch_new(&batch)) {
		(void)fprintf(stderr, "skipped: no namespaces, or no TPROXY of nftables\n");
		return SKIP;
	}
	servers[0] = address("203.0.113.7", 5353);
	servers[1] = address("2001:db8:ffff::7", 5353);
	set_bytes(bytes, sizeof(bytes), 5);
	any = address("::", PORT);
	if (tproxy_listen_udp(&any, &listener, &call) || icmp_open(&icmp, 0))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	icmp_close(&icmp);
	close(listener);
	datagram_batch_free(batch);
	return failed;
}
