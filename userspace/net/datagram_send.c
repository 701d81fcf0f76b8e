#include "net/datagram.h"
#include <assert.h>
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

/* What every kernel with UDP_SEGMENT takes at once: UDP_MAX_SEGMENTS was 64 before it was 128, and all of them
 * are a single IP packet until they are cut. */
#define GSO_SEGMENTS 64
#define GSO_BYTES    65507

struct outbox {
	struct mmsghdr messages[DATAGRAM_BATCH];
	struct iovec iovs[DATAGRAM_BATCH][2];
	struct sockaddr_storage destinations[DATAGRAM_BATCH];
	_Alignas(struct cmsghdr) char controls[DATAGRAM_BATCH][CMSG_SPACE(sizeof(uint16_t))];
};

/* How far the list is done. A train may take several messages: each is a piece of it. */
struct progress {
	const struct datagram *list;
	unsigned count, index;
	size_t offset;    /* in list[index] */
	size_t plain_end; /* up to here it goes without GSO, which was refused */
	int pending;      /* errno of the first try of this piece, 0: there was none */
};

static size_t piece_len(const struct progress *progress)
{
	const struct datagram *datagram = &progress->list[progress->index];
	size_t left = datagram->len - progress->offset, segment = datagram->segment, count;

	if (!segment || left <= segment)
		return left;
	if (progress->offset < progress->plain_end)
		return segment;
	count = GSO_BYTES / segment;
	if (count > GSO_SEGMENTS)
		count = GSO_SEGMENTS;
	if (!count)
		count = 1; /* longer than any datagram: refused */
	return left < count * segment ? left : count * segment;
}

static unsigned piece_count(const struct progress *progress)
{
	struct datagram piece = { .len = piece_len(progress),
				  .segment = progress->list[progress->index].segment };

	return datagram_count(&piece);
}

static void advance(struct progress *progress)
{
	progress->offset += piece_len(progress);
	progress->pending = 0;
	if (progress->offset < progress->list[progress->index].len)
		return;
	progress->index++;
	progress->offset = 0;
	progress->plain_end = 0;
}

static void set_segment(struct msghdr *header, void *control, uint16_t segment)
{
	struct cmsghdr *cmsg;

	header->msg_control = control;
	header->msg_controllen = CMSG_SPACE(sizeof(segment));
	cmsg = CMSG_FIRSTHDR(header);
	cmsg->cmsg_level = SOL_UDP;
	cmsg->cmsg_type = UDP_SEGMENT;
	cmsg->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(cmsg), &segment, sizeof(segment));
}

static void put_piece(struct outbox *outbox, unsigned i, const struct progress *progress)
{
	const struct datagram *datagram = &progress->list[progress->index];
	struct msghdr *header = &outbox->messages[i].msg_hdr;
	struct iovec *iov = outbox->iovs[i];

	assert(!datagram->head_len || datagram_count(datagram) == 1);
	*header = (struct msghdr){ .msg_iov = iov };
	if (datagram->head_len)
		iov[header->msg_iovlen++] = (struct iovec){ .iov_base = (void *)datagram->head,
							    .iov_len = datagram->head_len };
	if (datagram->len)
		iov[header->msg_iovlen++] = (struct iovec){ .iov_base = (void *)(datagram->data +
										 progress->offset),
							    .iov_len = piece_len(progress) };
	if (datagram->destination.family != AF_UNSPEC) {
		header->msg_name = &outbox->destinations[i];
		header->msg_namelen = addr_to_sockaddr(&datagram->destination,
						       &outbox->destinations[i]);
	}
	if (piece_count(progress) > 1)
		set_segment(header, outbox->controls[i], datagram->segment);
}

static unsigned fill(struct outbox *outbox, struct progress progress)
{
	unsigned i;

	for (i = 0; i < DATAGRAM_BATCH && progress.index < progress.count; i++) {
		put_piece(outbox, i, &progress);
		advance(&progress);
	}
	return i;
}

/* A segment that is longer than the MTU, no checksums by the device, IPsec, a socket without checksums. */
static bool is_gso_refused(int err)
{
	return err == EIO || err == EINVAL || err == EMSGSIZE || err == EOPNOTSUPP;
}

/* What ICMP leaves on a connected socket (icmp_err_convert[] of IPv4, icmpv6_err_convert() of Linux). */
static bool is_of_icmp(int err)
{
	return err == ECONNREFUSED || err == EHOSTUNREACH || err == ENETUNREACH ||
	       err == EHOSTDOWN || err == ENONET || err == ENOPROTOOPT || err == EPROTO ||
	       err == EACCES || err == EMSGSIZE;
}

static bool may_be_pending(const struct progress *progress, int err)
{
	return progress->list[progress->index].destination.family == AF_UNSPEC &&
	       !progress->pending && is_of_icmp(err);
}

/* The first piece was. */
static void refused(struct progress *progress, int err, struct datagram_sent *ret)
{
	unsigned count = piece_count(progress);

	if (count > 1 && is_gso_refused(err)) {
		progress->plain_end = progress->offset + piece_len(progress);
	} else if (may_be_pending(progress, err)) {
		progress->pending = err;
	} else {
		ret->failed += count;
		ret->err = -err;
		advance(progress);
	}
}

void datagram_send(int fd, const struct datagram *list, unsigned count, struct datagram_sent *ret)
{
	struct progress progress = { .list = list, .count = count };
	struct outbox outbox;

	*ret = (struct datagram_sent){ 0 };
	while (progress.index < count) {
		unsigned messages = fill(&outbox, progress);
		int sent = sendmmsg(fd, outbox.messages, messages, MSG_DONTWAIT);

		if (sent < 0)
			refused(&progress, errno, ret);
		else if (progress.pending)
			ret->icmp = -progress.pending;
		for (int i = 0; i < sent; i++) {
			ret->sent += piece_count(&progress);
			advance(&progress);
		}
	}
}
