#include "kern/interfaces.h"
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/log.h"
#include "kern/interfaces_list.h"
#include "kern/interfaces_read.h"
#include "kern/netlink.h"

#define REASON_BYTES 256
#define SETTLE_MS    250
/* Events say only that there is something to read: few need room, and what overflows says it too. */
#define EVENT_ROOM   65536
#define DRAIN_MAX    1024

/* From the first event to the reading the socket is masked, and what else arrives costs no wake-up. It is
 * emptied just before the reading, so what changes during that is an event for the next. */
struct netif_monitor {
	struct loop_io io;
	int fd;
	struct timer settle;
	struct loop *loop;
	struct netif_reader reader;
	struct netif_list *list;
	struct netif_watcher watcher;
	bool failing; /* said in the log */
};

static void on_event(struct loop_io *io)
{
	struct netif_monitor *monitor = container_of(io, struct netif_monitor, io);

	loop_io_drained(io, EPOLLIN | EPOLLERR); /* it is not, but the timer sees to that */
	if (timer_running(&monitor->settle))
		return; /* an overflow; masking again would find it again, without end */
	(void)loop_io_mask(io, 0);
	timer_start(&monitor->settle, &monitor->loop->timers, SETTLE_MS);
}

/* Whether it went well: else the same must be tried again. */
static bool listen_again(struct netif_monitor *monitor)
{
	for (int i = 0; i < DRAIN_MAX; i++) {
		char byte;
		ssize_t n = recv(monitor->fd, &byte, sizeof(byte), MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
	}
	return !loop_io_mask(&monitor->io, EPOLLIN);
}

static void say_failing(struct netif_monitor *monitor, int err)
{
	if (err && !monitor->failing)
		log_warn("interfaces", "cannot read the interfaces again: %s", strerror(-err));
	else if (!err && monitor->failing)
		log_info("interfaces", "the interfaces can be read again");
	monitor->failing = err;
}

static void on_settled(struct timer *timer)
{
	struct netif_monitor *monitor = container_of(timer, struct netif_monitor, settle);
	struct netif_list *list = NULL;
	bool listening = listen_again(monitor);
	int r = netif_read(&monitor->reader, monitor->list, &list);

	say_failing(monitor, r);
	if (r || !listening)
		timer_start(timer, &monitor->loop->timers, SETTLE_MS);
	if (r)
		return;
	if (netif_list_equal(monitor->list, list)) {
		netif_list_unref(list);
		return;
	}
	netif_list_unref(monitor->list);
	monitor->list = list;
	monitor->watcher.changed(monitor->watcher.owner, list);
}

static int failed(struct netif_monitor *monitor, char *reason, const char *step, int err)
{
	snprintf(reason, REASON_BYTES, "%s: %s", step, strerror(-err));
	netif_monitor_free(monitor);
	return err;
}

static int subscribe(struct netif_monitor *monitor)
{
	int room = EVENT_ROOM;
	int r = netlink_open(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
			     RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_RULE |
			     1U << (RTNLGRP_IPV6_RULE - 1));

	if (r < 0)
		return r;
	monitor->fd = r;
	if (setsockopt(monitor->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)) < 0)
		return -errno;
	r = loop_io_init(&monitor->io, monitor->loop, monitor->fd, on_event);
	if (!r)
		loop_io_want(&monitor->io, EPOLLIN);
	return r;
}

int netif_monitor_new(struct netif_monitor **ret, struct loop *loop, const struct config *config,
		      uint32_t mark, const struct netif_watcher *watcher, char *reason)
{
	struct netif_monitor *monitor = malloc(sizeof(*monitor));
	int r;

	if (!monitor)
		return failed(NULL, reason, "interfaces", -ENOMEM);
	*monitor = (struct netif_monitor){ .io = LOOP_IO_NULL,
					   .fd = -1,
					   .loop = loop,
					   .reader = { .fd = -1, .routes.fd = -1 },
					   .watcher = *watcher };
	timer_init(&monitor->settle, on_settled);
	r = netif_reader_init(&monitor->reader, config, mark);
	if (r)
		return failed(monitor, reason, "opening netlink sockets", r);
	r = subscribe(monitor); /* first: nothing changes unnoticed after the reading */
	if (r)
		return failed(monitor, reason, "subscribing to changes of interfaces (netlink)", r);
	r = netif_read(&monitor->reader, NULL, &monitor->list);
	if (r)
		return failed(monitor, reason, "reading the interfaces (netlink)", r);
	*ret = monitor;
	return 0;
}

void netif_monitor_free(struct netif_monitor *monitor)
{
	if (!monitor)
		return;
	timer_stop(&monitor->settle, &monitor->loop->timers);
	loop_io_deinit(&monitor->io);
	if (monitor->fd >= 0)
		close(monitor->fd);
	netif_reader_deinit(&monitor->reader);
	netif_list_unref(monitor->list);
	free(monitor);
}

struct netif_list *netif_monitor_list(const struct netif_monitor *monitor)
{
	return monitor->list;
}
