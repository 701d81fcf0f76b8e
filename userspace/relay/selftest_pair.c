#include "relay/selftest_pair.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "net/sock.h"

#define ACCEPT_WAIT_MS 5
#define MEMORY_BYTES   (64U << 20)
#define FLOWS          1024 /* so many that a pair begins with the smallest cap */
#define BUFFER_BYTES   (16U << 20)

int pair_fail(struct pair_rig *rig, const char *format, ...)
{
	va_list args;

	if (rig->why[0])
		return -EIO;
	va_start(args, format);
	vsnprintf(rig->why, sizeof(rig->why), format, args);
	va_end(args);
	return -EIO;
}

static void fill_pattern(uint8_t *pattern)
{
	uint64_t word = 0x9e3779b97f4a7c15U;

	for (uint32_t i = 0; i < PAIR_PATTERN_BYTES; i++) { /* xorshift64 (Marsaglia, 2003) */
		word ^= word << 13;
		word ^= word >> 7;
		word ^= word << 17;
		pattern[i] = pattern[i + PAIR_PATTERN_BYTES] = (uint8_t)(word >> 32);
	}
}

const uint8_t *pair_pattern(const struct pair_rig *rig, int side, uint64_t offset)
{
	uint64_t phase = side == CLIENT ? 0
					: PAIR_PATTERN_BYTES / 3; /* no way passes for the other */

	return rig->pattern + (offset + phase) % PAIR_PATTERN_BYTES;
}

static int listen_on_loopback(struct pair_rig *rig)
{
	struct addr loopback;
	defer_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;
	r = addr_parse("127.0.0.1", 0, &loopback);
	if (!r)
		r = sock_bind_address(fd, &loopback, false);
	if (!r && listen(fd, 8) < 0)
		r = -errno;
	if (!r)
		r = sock_local_addr(fd, &rig->address);
	if (!r)
		rig->listener = TAKE_FD(fd);
	return r;
}

static void run(struct pair *pair);

static void on_wake(struct relay *relay)
{
	run(container_of(relay, struct pair, relay));
}

int pair_rig_check(struct pair_rig *rig)
{
	if (rig->env.memory.used)
		return pair_fail(rig, "%llu bytes of the budget were not given back",
				 (unsigned long long)rig->env.memory.used);
	if (rig->env.gates.used)
		return pair_fail(rig, "%u slots were not given back", rig->env.gates.used);
	return 0;
}

static int set_options(int fd, int buffer)
{
	static const int mss = 1448; /* Ethernet's, for loopback's is larger than small buffers */

	if (setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss)) < 0)
		return -errno;
	if (buffer && (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer)) < 0 ||
		       setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)) < 0))
		return -errno;
	return sock_set_nodelay(fd);
}

/* The connection of @fd, and not somebody else's who found the port. */
static int accept_from(struct pair_rig *rig, int fd, int *ret_fd)
{
	struct addr wanted, peer;
	int r = sock_local_addr(fd, &wanted);

	while (!r) {
		struct pollfd ready = { .fd = rig->listener, .events = POLLIN };
		defer_close int got = accept4(rig->listener, NULL, NULL,
					      SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (got >= 0 && !sock_peer_addr(got, &peer) && addr_equal(&peer, &wanted)) {
			*ret_fd = TAKE_FD(got);
			return 0;
		}
		if (got < 0 && errno != EAGAIN && errno != ECONNABORTED)
			r = -errno;
		else if (clock_ms() > rig->deadline_ms)
			r = -ETIMEDOUT;
		else if (got < 0)
			(void)poll(&ready, 1, ACCEPT_WAIT_MS);
	}
	return r;
}

/* fd[0] connects, fd[1] is accepted. */
static int connect_pair(struct pair_rig *rig, int buffer, int fd[2])
{
	defer_close int active = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int passive = -1, r;
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&rig->address, &sa);

	if (active < 0)
		return -errno;
	r = set_options(rig->listener, buffer); /* inherited, and the window scale depends on it */
	if (!r)
		r = set_options(active, buffer);
	if (!r && connect(active, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
		r = -errno;
	if (!r)
		r = accept_from(rig, active, &passive);
	if (!r) {
		fd[0] = TAKE_FD(active);
		fd[1] = passive;
	}
	return r;
}

static int try_loopback(struct pair_rig *rig)
{
	int fd[2] = { -1, -1 }, r = connect_pair(rig, 0, fd);

	for (int i = 0; i < 2 && !r; i++) {
		(void)sock_set_reset_on_close(fd[i]);
		close(fd[i]);
	}
	return r;
}

static int fill_rig(struct pair_rig *rig, enum relay_method method, struct fastpath *fastpath,
		    const char **ret_step)
{
	const struct config_relay config = { .method = method,
					     .buffer_limit = BUFFER_BYTES,
					     .memory_limit = MEMORY_BYTES };
	int r;

	*ret_step = "epoll";
	r = loop_init(&rig->loop);
	if (r)
		return r;
	*ret_step = "memory";
	r = relay_env_init(&rig->env, &config, 1, FLOWS, &rig->loop, on_wake);
	rig->pattern = malloc((size_t)2 * PAIR_PATTERN_BYTES);
	rig->received = malloc(PAIR_PATTERN_BYTES);
	if (r || !rig->pattern || !rig->received)
		return -ENOMEM;
	fill_pattern(rig->pattern);
	*ret_step = "a listener on 127.0.0.1";
	r = listen_on_loopback(rig);
	if (r)
		return r;
	*ret_step = "a connection over 127.0.0.1";
	r = try_loopback(rig);
	if (r || !fastpath)
		return r;
	*ret_step = "the events of the sockmap";
	return relay_env_open_gates(&rig->env, fastpath, 0);
}

int pair_rig_init(struct pair_rig *rig, enum relay_method method, struct fastpath *fastpath,
		  uint32_t limit_ms, const char **ret_step)
{
	int r;

	*rig = (struct pair_rig){ .loop.epoll_fd = -1,
				  .listener = -1,
				  .deadline_ms = clock_ms() + limit_ms };
	r = fill_rig(rig, method, fastpath, ret_step);
	if (r)
		pair_rig_deinit(rig);
	return r;
}

void pair_rig_deinit(struct pair_rig *rig)
{
	if (rig->loop.epoll_fd < 0)
		return;
	if (rig->env.loop)
		relay_env_deinit(&rig->env);
	if (rig->listener >= 0)
		close(rig->listener);
	loop_deinit(&rig->loop);
	free(rig->pattern);
	free(rig->received);
	*rig = (struct pair_rig){ .loop.epoll_fd = -1, .listener = -1 };
}

static void finish(struct pair *pair, int result)
{
	pair->result = result;
	for (int side = 0; side < SIDES; side++) {
		pair->relayed[side] = relay_bytes(&pair->relay, side);
		pair->in_kernel[side] = relay_kernel_bytes(&pair->relay, side);
	}
	pair->method = relay_method_name(&pair->relay);
	pair->started = false;
	relay_stop(&pair->relay);
	for (int side = 0; side < SIDES; side++)
		stream_close(&pair->side[side], result != RELAY_DONE);
	relay_release(&pair->relay);
}

static void run(struct pair *pair)
{
	int r;

	if (!pair->started)
		return;
	r = relay_run(&pair->relay, &pair->label);
	if (r != RELAY_MORE)
		finish(pair, r);
}

static void on_client_io(struct loop_io *io)
{
	run(container_of(io, struct pair, side[CLIENT].io));
}

static void on_upstream_io(struct loop_io *io)
{
	run(container_of(io, struct pair, side[UPSTREAM].io));
}

/* An end is there to wake the loop; pair_turn() asks the socket itself. */
static void on_end_io(struct loop_io *io)
{
	loop_io_drained(io, EPOLLERR | EPOLLHUP);
}

static int connect_both(struct pair *pair, int buffer)
{
	static loop_io_fn *const on_io[SIDES] = { on_client_io, on_upstream_io };
	int r = 0;

	for (int side = 0; side < SIDES && !r; side++) {
		int fd[2] = { -1, -1 };

		r = connect_pair(pair->rig, buffer, fd);
		if (r)
			break;
		if (side == UPSTREAM) { /* there the relay is who connects */
			int accepted = fd[1];

			fd[1] = fd[0];
			fd[0] = accepted;
		}
		r = stream_init(&pair->end[side], &pair->rig->loop, fd[0], on_end_io);
		if (r) {
			close(fd[0]);
			close(fd[1]);
			break;
		}
		r = stream_init(&pair->side[side], &pair->rig->loop, fd[1], on_io[side]);
		if (r)
			close(fd[1]);
	}
	return r;
}

void pair_init(struct pair *pair, struct pair_rig *rig)
{
	*pair = (struct pair){ .rig = rig,
			       .end = { STREAM_NULL, STREAM_NULL },
			       .side = { STREAM_NULL, STREAM_NULL },
			       .result = RELAY_MORE,
			       .method = "" };
}

int pair_open(struct pair *pair, int buffer)
{
	int r = connect_both(pair, buffer);

	pair->label = (struct gate_label){ .id = --pair->rig->last_id,
					   .destination = pair->rig->address };
	if (!r)
		r = sock_local_addr(pair->end[CLIENT].fd, &pair->label.source);

	return r ? pair_fail(pair->rig, "connecting over 127.0.0.1: %s", strerror(-r)) : 0;
}

void pair_start(struct pair *pair)
{
	relay_start(&pair->relay, &pair->rig->env, &pair->side[CLIENT], &pair->side[UPSTREAM]);
	pair->started = true;
	run(pair);
}

void pair_close(struct pair *pair)
{
	if (pair->started)
		finish(pair, -ECANCELED);
	for (int side = 0; side < SIDES; side++) { /* by RST: nothing waits for TIME_WAIT */
		stream_close(&pair->side[side], true);
		stream_close(&pair->end[side], true);
	}
}

uint64_t pair_kernel_bytes(const struct pair *pair, int side)
{
	return pair->started ? relay_kernel_bytes(&pair->relay, side) : pair->in_kernel[side];
}
