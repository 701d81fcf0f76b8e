/* netlink - sockets of rtnetlink(7) and what is said on them. Only what the kernel sent is believed: a
 * process with privileges could send as well. */
#pragma once
#include <libmnl/libmnl.h>
#include <stdint.h>
#include <sys/types.h>

/* @groups: bits of RTMGRP_*, the groups below 32. The descriptor or -errno. */
int netlink_open(uint32_t groups);
int netlink_send(int fd, const struct nlmsghdr *request);
/* One datagram of the kernel, the length of it or -errno. -ENOBUFS: something was lost before it. */
ssize_t netlink_receive(int fd, void *buffer, size_t size, int flags);

/* Sends @request, and *@ret is the message with its nlmsg_seq, in @buffer; what is there of earlier questions
 * is passed over. For what the kernel answers inside of sendmsg(): what is not there then will never be,
 * -EIO. */
int netlink_ask(int fd, const struct nlmsghdr *request, void *buffer, size_t size,
		const struct nlmsghdr **ret);

/* What it returns other than 0 ends the dump's meaning, but not the dump: it is read to its end. */
typedef int netlink_message_fn(const struct nlmsghdr *message, void *data);
/* Sends @request and hands out the answers, on a blocking socket. -EINTR: something changed meanwhile, and
 * there may be a gap or something twice. */
int netlink_dump(int fd, const struct nlmsghdr *request, netlink_message_fn *fn, void *data);

/* Whether @attribute is there and holds @size bytes or more. */
static inline bool netlink_holds(const struct nlattr *attribute, size_t size)
{
	return attribute && mnl_attr_get_payload_len(attribute) >= size;
}

/* The attributes of a message by number; those of @count or more are left out. */
struct netlink_table {
	const struct nlattr **list;
	uint16_t count;
};
/* An mnl_attr_cb_t, with a struct netlink_table as its data. */
int netlink_tabulate(const struct nlattr *attribute, void *data);
