/* What the two ends of the benchmark's traffic share. */
#pragma once
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>

enum {
	CHUNK = 256 << 10, /* one read or write of a bulk flow */
	EVENTS = 256,
};

/* The first byte of a connection, which tells the server what to do with it. */
enum mode {
	MODE_NONE,
	MODE_ECHO = 'E',   /* send everything back, that byte included */
	MODE_SINK = 'S',   /* swallow it */
	MODE_SOURCE = 'R', /* send until the client ends */
};

extern char chunk[CHUNK];
extern int epoll_fd;
extern volatile sig_atomic_t stopped;

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
struct sockaddr_in address(const char *ip, const char *port);
void watch(int op, int fd, uint32_t events, void *owner);
void no_delay(int fd);

/* Until SIGTERM; connections from @client itself are counted apart from those a proxy made. */
int serve(const char *port, const char *client);
