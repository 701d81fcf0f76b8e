/* Three namespaces, client - router - server, the router being the test's own; processes that talk in them. */
#pragma once
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include "netns.h"

#define TALK_PORT 7000
#define RESET     3 /* exit status: the other end reset the connection */

enum { CLIENT_NS, SERVER_NS };

static pid_t holders[3]; /* of the namespaces; the third pumps packets between two tun devices */

static inline void pause_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static inline bool enter_ns(int which)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)holders[which]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		return false;
	close(fd);
	return true;
}

/* The process that it forks never returns. */
static inline pid_t hold_namespace(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready))
		return -1;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) || write(ready[1], "1", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		pid = -1;
	close(ready[0]);
	return pid;
}

static inline int open_tun(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return fd >= 0 && !ioctl(fd, TUNSETIFF, &ifr) ? fd : -1;
}

/* A wire between a device without link header here and one in the client's namespace. */
static inline pid_t pump_tun(void)
{
	int fd[2] = { open_tun("rt0"), -1 };
	char packet[65536];
	pid_t pid;

	if (fd[0] < 0)
		return -1;
	pid = fork();
	if (pid) {
		close(fd[0]);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!enter_ns(CLIENT_NS))
		_exit(1);
	fd[1] = open_tun("ct0");
	for (;;) {
		struct pollfd fds[2] = { { fd[0], POLLIN, 0 }, { fd[1], POLLIN, 0 } };

		if (fd[1] < 0 || poll(fds, 2, -1) < 0)
			_exit(1);
		for (int i = 0; i < 2; i++) {
			ssize_t n = fds[i].revents ? read(fd[i], packet, sizeof(packet)) : 0;

			if (n > 0 && write(fd[!i], packet, (size_t)n) < 0 && errno != EIO)
				_exit(1);
		}
	}
}

static inline bool make_lab(void)
{
	char text[4000];
	int c, s;

	for (int i = 0; i < 2; i++) {
		holders[i] = hold_namespace();
		if (holders[i] < 0)
			return false;
	}
	c = (int)holders[CLIENT_NS];
	s = (int)holders[SERVER_NS];
	snprintf(text, sizeof(text),
		 "ip link add r0 type veth peer name c0 netns %d\n"
		 "ip link add r1 type veth peer name s0 netns %d\n"
		 "ip addr add 10.71.1.1/24 dev r0; ip addr add fd71:1::1/64 dev r0 nodad\n"
		 "ip addr add 10.71.2.1/24 dev r1; ip addr add fd71:2::1/64 dev r1 nodad\n"
		 "ip link set lo up; ip link set r0 up; ip link set r1 up\n"
		 "nsenter --net=/proc/%d/ns/net sh -c '"
		 "ip addr add 10.71.1.2/24 dev c0; ip addr add fd71:1::2/64 dev c0 nodad;"
		 "ip link set c0 up'\n"
		 "nsenter --net=/proc/%d/ns/net sh -c '"
		 "ip addr add 10.71.2.2/24 dev s0; ip addr add fd71:2::2/64 dev s0 nodad;"
		 "ip link set s0 up'\n",
		 c, s, c, s);
	return run(text);
}

static inline bool make_tun(void)
{
	char text[1000];

	holders[2] = pump_tun();
	if (holders[2] < 0)
		return false;
	pause_ms(100);
	snprintf(text, sizeof(text),
		 "ip addr add 10.71.8.1/24 dev rt0; ip addr add fd71:8::1/64 dev rt0 nodad\n"
		 "ip link set rt0 up\n"
		 "nsenter --net=/proc/%d/ns/net sh -c '"
		 "ip addr add 10.71.8.2/24 dev ct0; ip addr add fd71:8::2/64 dev ct0 nodad;"
		 "ip link set ct0 up'\n",
		 (int)holders[CLIENT_NS]);
	return run(text);
}

/* Not every kernel has VLANs. */
static inline bool make_vlan(void)
{
	char text[1000];

	snprintf(text, sizeof(text),
		 "ip link add link r0 name r0.7 type vlan id 7\n"
		 "ip addr add 10.71.7.1/24 dev r0.7; ip addr add fd71:7::1/64 dev r0.7 nodad\n"
		 "ip link set r0.7 up\n"
		 "nsenter --net=/proc/%d/ns/net sh -c '"
		 "ip link add link c0 name c0.7 type vlan id 7;"
		 "ip addr add 10.71.7.2/24 dev c0.7; ip addr add fd71:7::2/64 dev c0.7 nodad;"
		 "ip link set c0.7 up'\n",
		 (int)holders[CLIENT_NS]);
	return run(text);
}

static inline void leave_lab(void)
{
	for (int i = 0; i < 3; i++)
		if (holders[i] > 0) {
			kill(holders[i], SIGKILL);
			waitpid(holders[i], NULL, 0);
		}
}

static inline uint8_t pattern(uint64_t at, int side)
{
	return (uint8_t)(at * 131 + (at >> 13) * 17 + (at >> 21) + (uint64_t)side * 97);
}

struct talker {
	int fd, side;
	uint64_t bytes, pause_at, sent, received;
	bool ended;
};

static inline int receive_some(struct talker *t)
{
	uint8_t data[65536];
	ssize_t n = recv(t->fd, data, sizeof(data), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? 0 : errno == ECONNRESET ? RESET : 1;
	t->ended = n == 0;
	for (ssize_t i = 0; i < n; i++)
		if (data[i] != pattern(t->received++, !t->side))
			return 2;
	return 0;
}

static inline int send_some(struct talker *t, uint64_t until)
{
	uint8_t data[65536];
	size_t want = until - t->sent < sizeof(data) ? (size_t)(until - t->sent) : sizeof(data);
	ssize_t n;

	for (size_t i = 0; i < want; i++)
		data[i] = pattern(t->sent + i, t->side);
	n = send(t->fd, data, want, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN ? 0 : errno == ECONNRESET ? RESET : 1;
	t->sent += (uint64_t)n;
	if (t->sent == t->bytes)
		shutdown(t->fd, SHUT_WR);
	return 0;
}

static inline int reset(int fd)
{
	struct linger linger = { .l_onoff = 1 };

	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) || close(fd) ? 6 : 0;
}

/* Sends and receives @bytes each way, with a pause when @pause_at of them went both ways, and one a little later, for
 * a busy machine may miss the first. 0: all was right.
 * @reset_at: not 0, resets the connection when it has received so many. */
static inline int talk(int fd, int side, uint64_t bytes, uint64_t pause_at, uint64_t reset_at)
{
	struct talker t = { .fd = fd, .side = side, .bytes = bytes, .pause_at = pause_at };

	while (!t.ended || t.sent < bytes) {
		uint64_t until = t.pause_at ? t.pause_at : bytes;
		struct pollfd p = { fd, (short)(POLLIN | (t.sent < until ? POLLOUT : 0)), 0 };
		int r = 0;

		if (reset_at && t.received >= reset_at)
			return reset(fd);
		if (t.pause_at && t.sent == t.pause_at && t.received >= t.pause_at) {
			t.pause_at = t.pause_at == pause_at ? pause_at + pause_at / 4 : 0;
			pause_ms(side ? 250 : 200);
			continue;
		}
		if (poll(&p, 1, 10000) <= 0)
			return 4;
		if (p.revents & (POLLIN | POLLHUP | POLLERR))
			r = receive_some(&t);
		if (!r && p.revents & POLLOUT && t.sent < until)
			r = send_some(&t, until);
		if (r)
			return r;
	}
	return t.received == bytes ? 0 : 5;
}
