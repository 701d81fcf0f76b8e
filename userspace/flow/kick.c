#include "flow/kick.h"
#include <errno.h>
#include <sys/socket.h>

#define FIRST_WRITE_MAX \
	16384 /* a SYN holds less; what does not fit stays with the client's socket */

int kick_pay(struct stream *client, struct stream *upstream, bool now, uint64_t *bytes)
{
	char data[FIRST_WRITE_MAX];
	ssize_t n = recv(client->fd, data, sizeof(data), MSG_PEEK), sent;

	if (n < 0 && errno == EAGAIN) {
		loop_io_drained(&client->io, EPOLLIN);
		if (!now)
			return -EAGAIN;
	}
	sent = send(upstream->fd, data, n > 0 ? (size_t)n : 0, MSG_NOSIGNAL);
	/* EINPROGRESS: the SYN has left without data. EINVAL, EAGAIN: an empty write had nothing to do. */
	if (sent < 0 && errno != EINPROGRESS && errno != EAGAIN && (n > 0 || errno != EINVAL))
		return -errno;
	loop_io_drained(&upstream->io, EPOLLOUT);
	if (sent > 0) {
		/* takes what was peeked at out of the queue, tcp(7) */
		(void)recv(client->fd, NULL, (size_t)sent, MSG_TRUNC);
		*bytes += (uint64_t)sent;
	}
	return 0;
}
