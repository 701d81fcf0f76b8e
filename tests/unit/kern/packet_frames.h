/* Packets made from scratch, with every checksum computed in full. */
#pragma once
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#define FRAME_MAX  4096
#define ETHER      14
#define TCP_FIN    0x01
#define TCP_SYN    0x02
#define TCP_RST    0x04
#define TCP_PSH    0x08
#define TCP_ACK    0x10
#define TCP_URG    0x20
#define TCP_ECE    0x40
#define TCP_CWR    0x80
#define OPTION_MAX 40

struct fields {
	int family;
	uint8_t protocol, ttl, flags, ecn;
	uint8_t source[16], destination[16];
	uint16_t sport, dport, window;
	uint32_t seq, ack;
	uint8_t options[OPTION_MAX];
	size_t option_bytes, payload;
	uint16_t fragment;     /* as in the header */
	uint8_t ip_words;      /* of IP options */
	int no_checksum;       /* of UDP */
	const uint8_t *quoted; /* ICMP: what was too big; payload bytes of it */
};

static inline void put16(uint8_t *at, uint32_t n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
}

static inline void put32(uint8_t *at, uint32_t n)
{
	put16(at, n >> 16);
	put16(at + 2, n);
}

static inline uint32_t sum_up(const uint8_t *at, size_t bytes, uint32_t sum)
{
	for (size_t i = 0; i < bytes; i++)
		sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	return sum;
}

static inline uint16_t finish(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static inline size_t put_tcp(const struct fields *f, uint8_t *at)
{
	put32(at + 4, f->seq);
	put32(at + 8, f->ack);
	at[12] = (uint8_t)((20 + f->option_bytes) / 4 << 4);
	at[13] = f->flags;
	put16(at + 14, f->window);
	memcpy(at + 20, f->options, f->option_bytes);
	return 20 + f->option_bytes;
}

static inline size_t put_l4(const struct fields *f, uint8_t *at)
{
	const size_t address = f->family == AF_INET ? 4 : 16;
	int is_tcp = f->protocol == IPPROTO_TCP;
	uint8_t *check = at + (is_tcp ? 16 : 6);
	size_t bytes;
	uint16_t sum;

	put16(at, f->sport);
	put16(at + 2, f->dport);
	bytes = is_tcp ? put_tcp(f, at) : 8;
	for (size_t i = 0; i < f->payload; i++)
		at[bytes++] = (uint8_t)(i * 7 + 3);
	if (!is_tcp)
		put16(at + 4, (uint32_t)bytes);
	sum = finish(
		sum_up(at, bytes,
		       sum_up(f->source, address,
			      sum_up(f->destination, address, f->protocol + (uint32_t)bytes))));
	if (!is_tcp && !sum)
		sum = 0xffff;
	put16(check, f->no_checksum ? 0 : sum);
	return bytes;
}

/* "Packet too big", with the beginning of @quoted, a frame. */
static inline size_t put_too_big(const struct fields *f, const uint8_t *quoted, uint8_t *at)
{
	const size_t address = f->family == AF_INET ? 4 : 16, bytes = 8 + f->payload;
	uint32_t sum = 0;

	at[0] = f->family == AF_INET ? 3 : 2;
	at[1] = f->family == AF_INET ? 4 : 0;
	put32(at + 4, 1400);
	memcpy(at + 8, quoted + ETHER, f->payload);
	if (f->family == AF_INET6)
		sum = sum_up(f->source, address,
			     sum_up(f->destination, address, f->protocol + (uint32_t)bytes));
	put16(at + 2, finish(sum_up(at, bytes, sum)));
	return bytes;
}

/* The frame's bytes, in @frame of FRAME_MAX. */
static inline size_t build(const struct fields *f, uint8_t *frame)
{
	uint8_t *ip = frame + ETHER;
	size_t head = f->family == AF_INET ? 20 + f->ip_words * 4U : 40, bytes;

	memset(frame, 0, FRAME_MAX);
	put16(frame + 12, f->family == AF_INET ? 0x0800 : 0x86dd);
	bytes = f->quoted ? put_too_big(f, f->quoted, ip + head) : put_l4(f, ip + head);
	if (f->family == AF_INET) {
		ip[0] = (uint8_t)(0x40 | head / 4);
		ip[1] = 0x10 | f->ecn;
		put16(ip + 2, (uint32_t)(head + bytes));
		put16(ip + 4, 0xabcd);
		put16(ip + 6, f->fragment);
		ip[8] = f->ttl;
		ip[9] = f->protocol;
		memcpy(ip + 12, f->source, 4);
		memcpy(ip + 16, f->destination, 4);
		memset(ip + 20, 1, f->ip_words * 4U);
		put16(ip + 10, finish(sum_up(ip, head, 0)));
	} else {
		put32(ip, 0x61034567 | (uint32_t)f->ecn << 20);
		put16(ip + 4, (uint32_t)bytes);
		ip[6] = f->protocol;
		ip[7] = f->ttl;
		memcpy(ip + 8, f->source, 16);
		memcpy(ip + 24, f->destination, 16);
	}
	return ETHER + head + bytes;
}
