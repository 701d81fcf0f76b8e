/* A sender that goes back: by TCP_REPAIR, a new socket continues a connection at earlier bytes. What it
 * sends overlaps what was received, as a retransmission does that was cut otherwise than the first one.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include "base/cleanup.h"
#include "net/sock.h"
#include "relay/selftest_pair.h"

#ifndef TCP_REPAIR_OFF_NO_WP
#define TCP_REPAIR_OFF_NO_WP (-1) /* 4.19; with a window probe the peer would be spoken to */
#endif

/* <netinet/tcp.h> of musl has neither, nor can <linux/tcp.h> be included beside it. */
struct repair_option {
	uint32_t code, value;
};
enum { QUEUE_RECEIVE = 1, QUEUE_SEND = 2, OPTION_WINDOW_SCALE = 3 };

struct repair_state {
	struct addr local, remote;
	uint32_t seq[3];    /* by queue */
	uint32_t window[5]; /* struct tcp_repair_window */
	struct repair_option scale;
};

static int set_int(int fd, int name, int value)
{
	return setsockopt(fd, IPPROTO_TCP, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int save(int fd, struct repair_state *state)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info), window_len = sizeof(state->window);
	int r = sock_local_addr(fd, &state->local);

	if (!r)
		r = sock_peer_addr(fd, &state->remote);
	for (int queue = QUEUE_RECEIVE; queue <= QUEUE_SEND && !r; queue++) {
		socklen_t seq_len = sizeof(state->seq[queue]);

		r = set_int(fd, TCP_REPAIR_QUEUE, queue);
		if (!r &&
		    getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &state->seq[queue], &seq_len) < 0)
			r = -errno;
	}
	if (!r && (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
		   getsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, state->window, &window_len) < 0))
		r = -errno;
	state->scale.code = OPTION_WINDOW_SCALE;
	state->scale.value = info.tcpi_snd_wscale | (uint32_t)info.tcpi_rcv_wscale << 16;
	return r;
}

static int restore(int fd, const struct repair_state *state)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&state->remote, &sa);
	int r = set_int(fd, TCP_REPAIR, TCP_REPAIR_ON);

	if (!r)
		r = sock_bind_address(fd, &state->local, false);
	for (int queue = QUEUE_RECEIVE; queue <= QUEUE_SEND && !r; queue++) {
		r = set_int(fd, TCP_REPAIR_QUEUE, queue);
		if (!r)
			r = set_int(fd, TCP_QUEUE_SEQ, (int)state->seq[queue]);
	}
	if (!r && connect(fd, (struct sockaddr *)&sa, len) < 0) /* sends nothing */
		r = -errno;
	if (!r && (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, &state->scale,
			      sizeof(state->scale)) < 0 ||
		   setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, state->window,
			      sizeof(state->window)) < 0))
		r = -errno;
	return r ? r : set_int(fd, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
}

int pair_end_rewind(struct pair *pair, int side, uint32_t back)
{
	struct stream *end = &pair->end[side];
	loop_io_fn *fn = end->io.fn;
	defer_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct repair_state state;
	int r;

	if (fd < 0)
		return -errno;
	r = set_int(end->fd, TCP_REPAIR, TCP_REPAIR_ON);
	if (!r)
		r = save(end->fd, &state);
	if (r)
		return r;
	stream_close(end, false); /* in repair mode without a word */
	state.seq[QUEUE_SEND] -= back;
	pair->way[side].sent -= back;
	r = restore(fd, &state);
	if (!r)
		r = sock_set_nodelay(fd);
	if (!r)
		r = stream_init(end, &pair->rig->loop, fd, fn);
	if (!r)
		(void)TAKE_FD(fd);
	return r;
}
