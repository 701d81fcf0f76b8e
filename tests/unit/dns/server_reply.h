/* server_reply - what server.h answers with: messages put together by hand. */
#pragma once
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/names.h"
#include "loop/loop.h"

#define SERVER_CONNECTIONS 8

struct server_question {
	uint8_t message[512];
	size_t size;
	char name[256];
	unsigned type;
	bool tcp, edns;
	struct sockaddr_storage from;
	socklen_t from_length;
	struct loop_io *connection;
};

struct server {
	struct loop *loop;
	uint16_t port;
	struct loop_io udp, listener, connections[SERVER_CONNECTIONS];
	unsigned seen, seen_tcp, seen_edns;
	unsigned accepted;
	unsigned soa_ttl_s;
	struct server_question last;
};

struct message {
	uint8_t bytes[2048];
	size_t size;
};

static void put_bytes(struct message *m, const void *bytes, size_t size)
{
	assert_true(m->size + size <= sizeof(m->bytes));
	memcpy(m->bytes + m->size, bytes, size);
	m->size += size;
}

static void put_number(struct message *m, uint32_t value, int bytes)
{
	while (bytes--) {
		uint8_t byte = (uint8_t)(value >> (8 * bytes));

		put_bytes(m, &byte, 1);
	}
}

/* Ends where the name ends. */
static size_t read_name(const uint8_t *at, char *ret)
{
	size_t used = 0;

	*ret = '\0';
	while (at[used]) {
		strncat(ret, (const char *)at + used + 1, at[used]);
		strcat(ret, ".");
		used += at[used] + 1U;
	}
	return used + 1;
}

static void start_reply(struct message *m, const struct server_question *q, unsigned rcode,
			unsigned answers, unsigned authorities)
{
	size_t question = 12 + strlen(q->name) + 1 + 4;

	m->size = 0;
	put_bytes(m, q->message, 2);
	put_number(m, 0x8180 | rcode, 2);
	put_number(m, 1, 2);
	put_number(m, answers, 2);
	put_number(m, authorities, 2);
	put_number(m, 0, 2);
	put_bytes(m, q->message + 12, question - 12);
}

static void put_record(struct message *m, unsigned type, uint32_t ttl_s, const void *data,
		       size_t size)
{
	put_number(m, 0xc00c, 2); /* the name of the question */
	put_number(m, type, 2);
	put_number(m, 1, 2);
	put_number(m, ttl_s, 4);
	put_number(m, (uint32_t)size, 2);
	put_bytes(m, data, size);
}

static void put_addr(struct message *m, const struct server_question *q, uint32_t ttl_s,
		     uint8_t last)
{
	uint8_t v4[4] = { 192, 0, 2, last }, v6[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = last };

	if (q->type == 1)
		put_record(m, 1, ttl_s, v4, sizeof(v4));
	else
		put_record(m, 28, ttl_s, v6, sizeof(v6));
}

static void put_soa(struct message *m, uint32_t ttl_s, uint32_t minimum)
{
	struct message data = { .size = 0 };

	put_bytes(&data, "\0\0", 2);
	put_bytes(&data, "\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4", 16);
	put_number(&data, minimum, 4);
	put_record(m, 6, ttl_s, data.bytes, data.size);
}

static void send_raw(struct server *s, const struct server_question *q, const void *bytes,
		     size_t size)
{
	uint8_t length[2] = { (uint8_t)(size >> 8), (uint8_t)size };

	if (q->tcp) {
		assert_int_equal(send(q->connection->fd, length, 2, MSG_NOSIGNAL), 2);
		assert_int_equal(send(q->connection->fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
	} else {
		(void)sendto(s->udp.fd, bytes, size, 0, (const struct sockaddr *)&q->from,
			     q->from_length);
	}
}

static void send_reply(struct server *s, const struct server_question *q, const struct message *m)
{
	send_raw(s, q, m->bytes, m->size);
}
