#include "kern/netlink.h"
#include <errno.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include "base/cleanup.h"

/* The kernel fills up to 32 KiB with each part of a dump (4.9), if the reader takes that much. */
#define DUMP_BYTES 32768
#define STALE_MAX  16 /* answers to earlier questions, before ours */

int netlink_open(uint32_t groups)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = groups };
	defer_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int netlink_send(int fd, const struct nlmsghdr *request)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;

	do
		n = sendto(fd, request, request->nlmsg_len, 0, (struct sockaddr *)&kernel,
			   sizeof(kernel));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

ssize_t netlink_receive(int fd, void *buffer, size_t size, int flags)
{
	for (;;) {
		struct sockaddr_nl from = { 0 };
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buffer, size, flags | MSG_TRUNC, (struct sockaddr *)&from,
				     &len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0 || from.nl_pid)
			continue;
		return (size_t)n > size ? -EMSGSIZE : n;
	}
}

int netlink_ask(int fd, const struct nlmsghdr *request, void *buffer, size_t size,
		const struct nlmsghdr **ret)
{
	int r = netlink_send(fd, request);

	for (int i = 0; !r && i < STALE_MAX; i++) {
		ssize_t n = netlink_receive(fd, buffer, size, MSG_DONTWAIT);
		const struct nlmsghdr *m = buffer;

		if (n < 0)
			return n == -EAGAIN ? -EIO : (int)n;
		if (!mnl_nlmsg_ok(m, (int)n) || m->nlmsg_seq != request->nlmsg_seq)
			continue;
		*ret = m;
		return 0;
	}
	return r ? r : -EIO;
}

static int error_of(const struct nlmsghdr *message)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);

	if (mnl_nlmsg_get_payload_len(message) < sizeof(error->error))
		return -EBADMSG;
	return error->error;
}

struct dump {
	uint32_t seq;
	netlink_message_fn *fn;
	void *data;
	int err; /* of @fn, the first */
	bool interrupted, done;
};

/* The end of a dump carries an error number as NLMSG_ERROR does. */
static int take_part(struct dump *dump, const void *buffer, int left)
{
	for (const struct nlmsghdr *m = buffer; mnl_nlmsg_ok(m, left) && !dump->done;
	     m = mnl_nlmsg_next(m, &left)) {
		if (m->nlmsg_seq != dump->seq)
			continue; /* of a dump that was given up */
		if (m->nlmsg_flags & NLM_F_DUMP_INTR)
			dump->interrupted = true;
		if (m->nlmsg_type == NLMSG_ERROR || m->nlmsg_type == NLMSG_DONE) {
			dump->done = true;
			return m->nlmsg_type == NLMSG_DONE && m->nlmsg_len < NLMSG_LENGTH(4)
				       ? 0
				       : error_of(m);
		}
		if (m->nlmsg_type >= NLMSG_MIN_TYPE && !dump->err)
			dump->err = dump->fn(m, dump->data);
	}
	return 0;
}

int netlink_dump(int fd, const struct nlmsghdr *request, netlink_message_fn *fn, void *data)
{
	struct dump dump = { .seq = request->nlmsg_seq, .fn = fn, .data = data };
	defer_free char *buffer = malloc(DUMP_BYTES);
	int r;

	if (!buffer)
		return -ENOMEM;
	r = netlink_send(fd, request);
	while (!r && !dump.done) {
		ssize_t n = netlink_receive(fd, buffer, DUMP_BYTES, 0);

		r = n < 0 ? (int)n : take_part(&dump, buffer, (int)n);
	}
	if (r || dump.err)
		return r ? r : dump.err;
	return dump.interrupted ? -EINTR : 0;
}

int netlink_tabulate(const struct nlattr *attribute, void *data)
{
	struct netlink_table *table = data;
	uint16_t type = mnl_attr_get_type(attribute);

	if (type < table->count)
		table->list[type] = attribute;
	return MNL_CB_OK;
}
