/* channel - one c-ares channel, its sockets and its timer on a loop.
 *
 * c-ares opens no socket, and nothing of ours runs inside it but io.c and the callback of the
 * question, which must not call back into the channel.
 */
#pragma once
#include "dns/resolver.h"

struct dns_tuning {
	int tries;               /* of each server */
	int timeout_ms;          /* of the first; c-ares 1.18 doubles it with each further one */
	const char *resolv_conf; /* NULL: the system's */
	uint16_t local_port;     /* of the servers in it; 0: 53 */
	const char *hosts;       /* for type local as well; NULL: the system's */
};

struct dns_channel_options {
	struct loop *loop;
	size_t server; /* for @open */
	enum dns_server_type type;
	struct addr addr; /* of types udp and tcp */
	dns_socket_fn *open;
	void *open_ctx;
	struct dns_tuning tuning;
	/* c-ares has worked, off the loop, and is done with that: the channel may be freed. */
	void (*after)(void *ctx);
	void *after_ctx;
};

/* An ares_callback: once a question, inside dns_channel_ask() as well. */
typedef void dns_reply_fn(void *arg, int status, int timeouts, unsigned char *message, int size);

struct dns_channel;
int dns_channel_new(struct dns_channel **ret, const struct dns_channel_options *options);
/* Questions under way get ARES_EDESTRUCTION. NULL is fine. */
void dns_channel_free(struct dns_channel *channel);
/* 1: the file that @channel read has changed, *@ret is one that knows it; 0: it has not; -errno. */
int dns_channel_renew(const struct dns_channel *channel, struct dns_channel **ret);
bool dns_channel_idle(const struct dns_channel *channel); /* no question is under way */
void dns_channel_ask(struct dns_channel *channel, const char *name, enum dns_type type,
		     dns_reply_fn *fn, void *arg);
/* As dns_channel_ask(), a whole message, whose id c-ares 1.18 sends as it is. It ends in an OPT record without
 * options: of a question that comes back with FORMERR, 1.18 cuts off so much to try it without. */
void dns_channel_send(struct dns_channel *channel, const uint8_t *message, size_t size,
		      dns_reply_fn *fn, void *arg);
