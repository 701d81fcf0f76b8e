/* io - the sockets of a c-ares channel: who opens them, and what the loop knows of them.
 *
 * Every read and write of c-ares passes through here: EAGAIN is seen where it happens, and the loop
 * is told. A socket lives from c-ares' asocket to its aclose.
 */
#pragma once
#include "dns/channel.h"

struct ares_channeldata;

struct dns_io {
	const struct dns_channel_options *options;
	struct list sockets;
	unsigned reads_left;
	int refusal; /* what the datagram says that was read just now: ARES_ESERVFAIL, ...; 0: else */
	/* Descriptors, or -1. The socket and the channel may be gone after. */
	void (*on_ready)(void *ctx, int readable, int writable);
	void *ctx;
};

void dns_io_init(struct dns_io *io, const struct dns_channel_options *options,
		 void (*on_ready)(void *ctx, int readable, int writable), void *ctx);
void dns_io_attach(struct dns_io *io, struct ares_channeldata *ares);
bool dns_io_idle(const struct dns_io *io); /* no socket is open */
void dns_io_turn(struct dns_io *io);       /* c-ares is about to work: it may read so much again */
/* An ares_sock_state_cb, @data is the dns_io. */
void dns_io_on_state(void *data, int fd, int readable, int writable);
