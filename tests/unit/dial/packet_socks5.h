/* packet_socks5 - datagrams through SOCKS5: the test is the proxy, with its stream and its relay. */
#pragma once
#include "packet_scene.h"
#include "proto/socks5_datagram.h"

#define ASK       "\5\3\0\1\0\0\0\0\0\0"
#define ASK6      "\5\3\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define HEAD4     "\0\0\0\1\12\1\2\3\0\65"                           /* 10.1.2.3:53 */
#define HEAD6     "\0\0\0\4\375\0\0\0\0\0\0\0\0\0\0\0\0\0\0\7\1\273" /* [fd00::7]:443 */
#define HEAD_NAME "\0\0\0\3\6a.test\1\273"

static const struct target name = { .domain = "a.test", .addr.port = 443 };
static const struct handshake_config password = { .username = "me", .password = "pw" };
static const char *const hosts[] = { "127.0.0.1", "::1" };

static inline struct target target4(void)
{
	return (struct target){ .addr = address("10.1.2.3", 53) };
}

/* What the proxy says its relay is. */
struct reply {
	size_t len;
	uint8_t data[3 + SOCKS5_ADDRESS_MAX];
};

static inline struct reply reply_of(const struct addr *addr, const char *domain)
{
	struct reply reply = { .data = { 5 } };

	reply.len = 3 + socks5_put_address(reply.data + 3, addr, domain);
	return reply;
}

/* The proxy's part, up to the way; false: the test has cancelled. */
static inline bool associate(struct packet_scene *p, const struct target *target,
			     const struct reply *reply)
{
	struct line lines[] = { { SAID("\5\1\0"), SAID("\5\0") },
				{ SAID(ASK), { reply->data, reply->len } } };
	struct addr proxy;

	assert_int_equal(sock_local_addr(p->s.listener, &proxy), 0);
	if (proxy.family == AF_INET6)
		lines[1].expect = (struct said)SAID(ASK6);
	assert_int_equal(scene_start(&p->s, target), 0);
	return play(&p->s, lines, 2, 0);
}

static inline void begin(struct packet_scene *p, const char *host, const struct target *target)
{
	struct reply reply;

	packet_scene_init(p, host);
	add_layer(&p->s, &socks5_handshake, NULL, NULL);
	reply = reply_of(&p->relay_addr, NULL);
	assert_true(associate(p, target, &reply));
	(void)way_made(p);
}

static inline void end(struct packet_scene *p)
{
	scene_over(&p->s, false);
	packet_scene_deinit(p);
}

static inline void relay_hears(struct packet_scene *p, const void *data, size_t len)
{
	static uint8_t buf[DATAGRAM_MAX];
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(p->relay, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len);

	assert_int_equal(n, len);
	assert_memory_equal(buf, data, len);
	assert_int_equal(addr_from_sockaddr((struct sockaddr *)&from, &p->client), 0);
}

static inline void relay_says(struct packet_scene *p, const void *data, size_t len)
{
	struct sockaddr_storage to;
	socklen_t to_len = addr_to_sockaddr(&p->client, &to);

	assert_int_equal(sendto(p->relay, data, len, 0, (struct sockaddr *)&to, to_len), len);
}

#define HEARS(p, literal) relay_hears(p, literal, sizeof(literal) - 1)
#define SAYS(p, literal)  relay_says(p, literal, sizeof(literal) - 1)
