#include "net/datagram.h"
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "net/sock.h"

#ifndef IPV6_ORIGDSTADDR
#define IPV6_ORIGDSTADDR 74
#endif

/* What comes in while the loop does something else: 40 ms of 1 Gbit/s in full frames, each of which counts as
 * 2.25 KiB (truesize). The default of 208 KiB is 1 ms of it. */
#define BURST   (8U << 20)

#define SLOT    65536 /* DATAGRAM_MAX, in pages */
#define CONTROL 256   /* all that a dual-stack listener asks for takes 224 */

struct datagram_batch {
	uint8_t *memory; /* a slot each; mapped */
	struct datagram list[DATAGRAM_BATCH];
	struct mmsghdr messages[DATAGRAM_BATCH];
	struct iovec iovs[DATAGRAM_BATCH];
	struct sockaddr_storage sources[DATAGRAM_BATCH];
	_Alignas(struct cmsghdr) char controls[DATAGRAM_BATCH][CONTROL];
};

int datagram_batch_new(struct datagram_batch **ret)
{
	struct datagram_batch *batch = calloc(1, sizeof(*batch));
	void *memory;

	if (!batch)
		return -ENOMEM;
	memory = mmap(NULL, (size_t)DATAGRAM_BATCH * SLOT, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		free(batch);
		return -ENOMEM;
	}
	/* One byte would touch 2 MiB. A kernel without huge pages refuses, rightly. */
	(void)madvise(memory, (size_t)DATAGRAM_BATCH * SLOT, MADV_NOHUGEPAGE);
	batch->memory = memory;
	for (unsigned i = 0; i < DATAGRAM_BATCH; i++) {
		batch->iovs[i] = (struct iovec){ .iov_base = batch->memory + (size_t)i * SLOT,
						 .iov_len = DATAGRAM_MAX };
		batch->messages[i].msg_hdr = (struct msghdr){ .msg_name = &batch->sources[i],
							      .msg_iov = &batch->iovs[i],
							      .msg_iovlen = 1,
							      .msg_control = batch->controls[i] };
	}
	*ret = batch;
	return 0;
}

void datagram_batch_free(struct datagram_batch *batch)
{
	if (!batch)
		return;
	munmap(batch->memory, (size_t)DATAGRAM_BATCH * SLOT);
	free(batch);
}

static int int_of(const struct cmsghdr *cmsg)
{
	int value;

	memcpy(&value, CMSG_DATA(cmsg), sizeof(value));
	return value;
}

static void take_v4(const struct cmsghdr *cmsg, struct datagram *datagram)
{
	struct in_pktinfo info;
	struct sockaddr_in in;

	if (cmsg->cmsg_type == IP_ORIGDSTADDR) {
		memcpy(&in, CMSG_DATA(cmsg), sizeof(in));
		(void)addr_from_sockaddr((struct sockaddr *)&in, &datagram->destination);
	} else if (cmsg->cmsg_type == IP_PKTINFO) {
		memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
		datagram->interface = info.ipi_ifindex;
	} else if (cmsg->cmsg_type == IP_TOS) {
		datagram->dscp = *CMSG_DATA(cmsg) >> 2;
	}
}

/* IPv4 datagrams of a dual-stack socket have IPV6_PKTINFO, and for the rest the messages of IPv4. */
static void take_v6(const struct cmsghdr *cmsg, struct datagram *datagram)
{
	struct in6_pktinfo info;
	struct sockaddr_in6 in6;

	if (cmsg->cmsg_type == IPV6_ORIGDSTADDR) {
		memcpy(&in6, CMSG_DATA(cmsg), sizeof(in6));
		(void)addr_from_sockaddr((struct sockaddr *)&in6, &datagram->destination);
	} else if (cmsg->cmsg_type == IPV6_PKTINFO) {
		memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
		datagram->interface = (int)info.ipi6_ifindex;
	} else if (cmsg->cmsg_type == IPV6_TCLASS) {
		datagram->dscp = (uint8_t)(int_of(cmsg) >> 2 & 63);
	}
}

static void take(struct mmsghdr *message, struct datagram *datagram)
{
	struct msghdr *header = &message->msg_hdr;

	*datagram = (struct datagram){ .data = header->msg_iov->iov_base,
				       .len = message->msg_len,
				       .truncated = header->msg_flags & MSG_TRUNC };
	if (header->msg_namelen)
		(void)addr_from_sockaddr(header->msg_name, &datagram->source);
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg; cmsg = CMSG_NXTHDR(header, cmsg)) {
		if (cmsg->cmsg_level == IPPROTO_IP)
			take_v4(cmsg, datagram);
		else if (cmsg->cmsg_level == IPPROTO_IPV6)
			take_v6(cmsg, datagram);
		else if (cmsg->cmsg_level == SOL_UDP && cmsg->cmsg_type == UDP_GRO)
			datagram->segment = (uint16_t)int_of(cmsg);
	}
	if (datagram->len <= datagram->segment)
		datagram->segment = 0;
}

int datagram_receive(struct datagram_batch *batch, int fd, const struct datagram **ret)
{
	int count;

	for (unsigned i = 0; i < DATAGRAM_BATCH; i++) {
		batch->messages[i].msg_hdr.msg_namelen = sizeof(batch->sources[i]);
		batch->messages[i].msg_hdr.msg_controllen = CONTROL;
	}
	count = recvmmsg(fd, batch->messages, DATAGRAM_BATCH, MSG_DONTWAIT, NULL);
	if (count < 0)
		return -errno;
	for (int i = 0; i < count; i++)
		take(&batch->messages[i], &batch->list[i]);
	*ret = batch->list;
	return count;
}

int datagram_set_gro(int fd)
{
	static const int one = 1;

	return setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof(one)) < 0 ? -errno : 0;
}

void datagram_set_queues(int fd)
{
	(void)sock_set_receive_buffer(fd, BURST, true);
	(void)sock_set_send_buffer(fd, BURST);
}
