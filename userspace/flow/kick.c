#include "flow/kick.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define FIRST_WRITE_MAX \
	16384 /* a SYN holds less; what does not fit stays with the client's socket */

/* What the client has sent, without taking it: bytes, 0 at its end, -EAGAIN. */
static ssize_t peek(const struct kick *kick, struct stream *client, char *data)
{
	ssize_t n = kick->bare ? 0 : recv(client->fd, data, FIRST_WRITE_MAX, MSG_PEEK);

	if (n < 0) {
		loop_io_drained(&client->io, EPOLLIN);
		return -EAGAIN; /* an error shows when the relay reads */
	}
	return n;
}

static void account(struct kick *kick, struct stream *client, size_t sent)
{
	size_t left = kick->owed ? kick->owed->header_len - kick->header_sent : 0;

	if (sent <= left) {
		kick->header_sent += sent;
		return;
	}
	kick->header_sent += left;
	kick->bytes += sent - left;
	/* takes what was peeked at out of the queue, tcp(7) */
	(void)recv(client->fd, NULL, sent - left, MSG_TRUNC);
}

int kick_pay(struct kick *kick, struct stream *client, struct stream *upstream, bool now)
{
	char data[FIRST_WRITE_MAX];
	size_t left = kick->owed ? kick->owed->header_len - kick->header_sent : 0;
	ssize_t n = peek(kick, client, data), sent;
	struct iovec iov[2] = { { .iov_base = kick->owed ? kick->owed->header + kick->header_sent
							 : NULL,
				  .iov_len = left },
				{ .iov_base = data, .iov_len = n > 0 ? (size_t)n : 0 } };
	const struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };

	if (n == -EAGAIN && !now)
		return -EAGAIN;
	sent = sendmsg(upstream->fd, &message, MSG_NOSIGNAL);
	/* EINPROGRESS: the SYN has left without data. EINVAL: an empty write had nothing to do. */
	if (sent < 0 && errno != EINPROGRESS && errno != EAGAIN &&
	    !(errno == EINVAL && !left && n <= 0))
		return -errno;
	kick->written = true;
	loop_io_drained(&upstream->io, EPOLLOUT);
	if (sent > 0)
		account(kick, client, (size_t)sent);
	return kick_owes(kick) ? -EINPROGRESS : 0;
}
