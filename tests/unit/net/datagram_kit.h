/* datagram_kit - UDP sockets, datagrams of known bytes, and what came of them, one by one. */
#pragma once
#include "common.h"
#include <poll.h>
#include "net/datagram.h"
#include "net/sock.h"

#define RECEIVE_BUFFER (16 << 20)

/* Bytes that tell which datagram, and where in it. */
static inline void set_bytes(uint8_t *data, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)((seed * 2654435761U + (uint32_t)i * 40503U) >> 13);
}

static inline int udp_socket(const struct addr *bound)
{
	int fd = socket(bound->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(sock_bind_address(fd, bound, false), 0);
	(void)sock_set_receive_buffer(fd, RECEIVE_BUFFER, true);
	return fd;
}

static inline void connect_to(int fd, const struct addr *to)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(to, &sa);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
}

static inline struct addr local_addr(int fd)
{
	struct addr addr;

	assert_int_equal(sock_local_addr(fd, &addr), 0);
	return addr;
}

/* Two that are connected to each other. */
static inline void udp_pair(const char *text, int fds[2])
{
	struct addr any = address(text, 0), addr;

	fds[0] = udp_socket(&any);
	fds[1] = udp_socket(&any);
	addr = local_addr(fds[1]);
	connect_to(fds[0], &addr);
	addr = local_addr(fds[0]);
	connect_to(fds[1], &addr);
}

static inline void close_pair(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

/* As datagram_receive(), but waits for a second; -EAGAIN then. */
static inline int receive(struct datagram_batch *batch, int fd, const struct datagram **ret)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };

	(void)poll(&ready, 1, 1000);
	return datagram_receive(batch, fd, ret);
}

/* One that is not a train. */
static inline const struct datagram *receive_one(struct datagram_batch *batch, int fd)
{
	const struct datagram *list = NULL;

	assert_int_equal(receive(batch, fd, &list), 1);
	assert_int_equal(list->segment, 0);
	assert_int_equal(datagram_count(list), 1);
	return list;
}

static inline void assert_addr(const struct addr *addr, const struct addr *expected)
{
	char text[ADDR_STRLEN], wanted[ADDR_STRLEN];

	assert_string_equal(addr_format(addr, text), addr_format(expected, wanted));
}

static inline struct datagram_sent send_all(int fd, const struct datagram *list, unsigned count)
{
	struct datagram_sent sent;

	memset(&sent, 0xff, sizeof(sent));
	datagram_send(fd, list, count, &sent);
	return sent;
}

static inline void assert_sent(const struct datagram_sent *sent, unsigned expected)
{
	assert_int_equal(sent->err, 0);
	assert_int_equal(sent->failed, 0);
	assert_int_equal(sent->sent, expected);
}

/* The datagrams of @list come to @fd in order, in trains of any length or one by one. Returns how many
 * trains there were. */
static inline unsigned assert_arrive(struct datagram_batch *batch, int fd,
				     const struct datagram *list, unsigned count)
{
	const struct datagram *got = NULL;
	unsigned trains = 0, index = 0;
	size_t offset = 0;

	while (index < count) {
		int received = receive(batch, fd, &got);

		assert_true(received > 0);
		for (int i = 0; i < received; i++) {
			size_t at = 0, segment = got[i].segment ? got[i].segment : got[i].len;

			assert_false(got[i].truncated);
			trains += datagram_count(&got[i]) > 1;
			for (unsigned n = datagram_count(&got[i]); n; n--) {
				size_t len = got[i].len - at < segment ? got[i].len - at : segment;
				size_t left = list[index].len - offset;
				size_t want = list[index].segment && list[index].segment < left
						      ? list[index].segment
						      : left;

				assert_true(index < count);
				assert_int_equal(len, list[index].head_len + want);
				if (list[index].head_len)
					assert_memory_equal(got[i].data + at, list[index].head,
							    list[index].head_len);
				if (want)
					assert_memory_equal(got[i].data + at + list[index].head_len,
							    list[index].data + offset, want);
				at += len;
				offset += want;
				if (offset == list[index].len) {
					index++;
					offset = 0;
				}
			}
		}
	}
	assert_int_equal(datagram_receive(batch, fd, &got), -EAGAIN);
	return trains;
}
