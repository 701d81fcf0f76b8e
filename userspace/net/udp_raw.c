#include "net/udp_raw.h"
#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include "base/cleanup.h"
#include "net/checksum.h"
#include "net/sock.h"

struct outbox {
	struct mmsghdr messages[DATAGRAM_BATCH];
	struct udphdr headers[DATAGRAM_BATCH];
	struct iovec iovs[DATAGRAM_BATCH][2];
	struct sockaddr_storage destinations[DATAGRAM_BATCH];
};

/* How far the list is done. */
struct progress {
	const struct datagram *list;
	unsigned count, index;
	size_t offset; /* in list[index], a train */
};

/* All that comes for the address comes here as well, from socket() on, when the address may be any. */
static int receive_nothing(int fd)
{
	static const struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog filter = { .len = 1, .filter = (struct sock_filter *)&drop };
	char byte;

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0)
		return -errno;
	while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
		; /* what came before the filter: it ends, no more comes */
	return 0;
}

int udp_raw_open(const struct addr *from, uint32_t mark, int *ret_fd)
{
	defer_close int fd = socket(from->family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
				    IPPROTO_UDP);
	int r;

	if (fd < 0)
		return -errno;
	r = receive_nothing(fd);
	if (!r)
		r = sock_set_transparent(fd, from->family);
	if (!r && mark)
		r = sock_set_mark(fd, mark);
	if (!r)
		r = sock_set_may_fragment(fd, from->family);
	if (!r)
		r = sock_bind_address(fd, from, false);
	if (r)
		return r;
	datagram_set_queues(fd); /* the queue out: a burst is lost earlier */
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static size_t piece_len(const struct progress *progress)
{
	const struct datagram *datagram = &progress->list[progress->index];
	size_t left = datagram->len - progress->offset;

	return datagram->segment && left > datagram->segment ? datagram->segment : left;
}

static void advance(struct progress *progress)
{
	progress->offset += piece_len(progress);
	if (progress->offset < progress->list[progress->index].len)
		return;
	progress->index++;
	progress->offset = 0;
}

static void put_piece(struct outbox *outbox, unsigned i, const struct addr *from,
		      const struct progress *progress)
{
	const struct datagram *datagram = &progress->list[progress->index];
	struct addr no_port = datagram->destination; /* a port is a protocol to raw(7) */
	size_t len = piece_len(progress);
	const uint8_t *data = len ? datagram->data + progress->offset : NULL;

	assert(!datagram->head_len);
	no_port.port = 0;
	outbox->headers[i] = udp_header(from, &datagram->destination, data, len);
	outbox->iovs[i][0] = (struct iovec){ .iov_base = &outbox->headers[i],
					     .iov_len = sizeof(outbox->headers[i]) };
	outbox->iovs[i][1] = (struct iovec){ .iov_base = (void *)data, .iov_len = len };
	outbox->messages[i].msg_hdr = (struct msghdr){
		.msg_name = &outbox->destinations[i],
		.msg_namelen = addr_to_sockaddr(&no_port, &outbox->destinations[i]),
		.msg_iov = outbox->iovs[i],
		.msg_iovlen = len ? 2 : 1,
	};
}

static unsigned fill(struct outbox *outbox, const struct addr *from, struct progress *progress)
{
	unsigned i;

	for (i = 0; i < DATAGRAM_BATCH && progress->index < progress->count; i++) {
		put_piece(outbox, i, from, progress);
		advance(progress);
	}
	return i;
}

/* What is longer than a datagram can be is refused by the kernel. */
static void send_filled(int fd, struct outbox *outbox, unsigned count, struct datagram_sent *ret)
{
	unsigned done = 0;

	while (done < count) {
		int sent = sendmmsg(fd, outbox->messages + done, count - done, MSG_DONTWAIT);

		if (sent < 0) {
			ret->err = -errno;
			ret->failed++;
			done++;
		} else {
			ret->sent += (unsigned)sent;
			done += (unsigned)sent;
		}
	}
}

void udp_raw_send(int fd, const struct addr *from, const struct datagram *list, unsigned count,
		  struct datagram_sent *ret)
{
	struct progress progress = { .list = list, .count = count };
	struct outbox outbox;

	*ret = (struct datagram_sent){ 0 };
	while (progress.index < count)
		send_filled(fd, &outbox, fill(&outbox, from, &progress), ret);
}
