/* A pair that talks all the time in short messages: one of them waits, unread, while all else is quiet. */
#include <errno.h>
#include <sys/socket.h>
#include "net/sock.h"
#include "relay/taker.h"

/* The side of the only message that waits, in one segment; -1: none, -2: more. */
static int only_message(const struct taker *t, uint32_t *ret_bytes)
{
	uint32_t unread[SIDES] = { sock_unread(taker_fd(t, CLIENT)),
				   sock_unread(taker_fd(t, UPSTREAM)) };
	int side = unread[CLIENT] ? CLIENT : UPSTREAM;

	if (!unread[side])
		return -1;
	if (unread[!side] || unread[side] > sock_send_mss(taker_fd(t, !side)))
		return -2;
	*ret_bytes = unread[side];
	return side;
}

bool taker_hold(struct taker *t)
{
	uint32_t bytes;
	int side = only_message(t, &bytes);

	if (side == -1)
		return false;
	t->may_hold = false; /* one try a pause */
	if (side < 0 || !relay_is_empty_handed(t->relay))
		return false;
	t->unread[side] = bytes;
	t->unread[!side] = 0;
	t->quiet_ns = 0;
	if (taker_quiet(t) < 0) {
		t->unread[side] = 0;
		return false;
	}
	t->phase = TAKER_HOLD;
	taker_start_timer(t, TAKER_GRACE_MS);
	taker_listen(t, EPOLLRDHUP | (side == CLIENT ? 0 : EPOLLIN),
		     EPOLLRDHUP | (side == CLIENT ? EPOLLIN : 0));
	return true;
}

/* What it is armed for: these bytes and no other. What does not fit goes on being owed. */
static int forward(struct taker *t)
{
	int side = t->unread[CLIENT] ? CLIENT : UPSTREAM;
	struct pump *p = &t->relay->pump[side];
	uint8_t *scratch = t->relay->env->scratch;
	ssize_t n = recv(p->from->fd, scratch, t->unread[side], MSG_DONTWAIT), sent;

	t->unread[side] = 0;
	if (n <= 0)
		return relay_fail(p, p->from, n ? -errno : -EIO);
	t->relay->reads++;
	sent = send(p->to->fd, scratch, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && errno != EAGAIN)
		return relay_fail(p, p->to, -errno);
	if (sent < 0)
		sent = 0;
	p->bytes += (uint64_t)sent;
	if (sent == n)
		return TAKER_REST;
	if (relay_hold(p, scratch + sent, (uint32_t)(n - sent)))
		return relay_fail(p, p->to, -ENOMEM);
	packet_disarm(&t->relay->pair); /* not taken: it still owes bytes */
	return taker_missed(t);
}

int taker_hold_turn(struct taker *t)
{
	enum taker_turn turn = TAKER_GO;
	int quiet = taker_quiet(t);

	if (quiet < 0)
		return taker_watch(t);
	if (quiet)
		return taker_arm(t, t->unread, &turn) ? forward(t) : (int)turn;
	if (t->due)
		taker_start_timer(t, 1);
	return TAKER_REST;
}
