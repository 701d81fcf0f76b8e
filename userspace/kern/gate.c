#include "kern/gate.h"
#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include "kern/local.h"

#define LOST_CHECK_MS 1000
#define STILL_TRIES   8

static uint32_t slot_of(const struct gate *gate, int side)
{
	return 2 * (gate->set->first + (uint32_t)(gate - gate->set->gates)) + (uint32_t)side;
}

struct seam_dir *gate_dir(const struct gate *gate, int side)
{
	return &gate->set->fastpath->dirs[slot_of(gate, side)];
}

static int on_record(void *ctx, void *data, size_t size)
{
	struct gate_set *set = ctx;
	const struct seam_event *event = data;
	uint32_t pair = event->slot / 2 - set->first;

	/* The pair may have gone, or the slot have a new one, since: on_event() looks at the dir again. */
	if (size >= sizeof(*event) && pair < set->fresh && set->gates[pair].set)
		set->on_event(&set->gates[pair], (int)(event->slot & 1), event->kind);
	return 0;
}

static void on_ring(struct loop_io *io)
{
	struct gate_set *set = container_of(io, struct gate_set, io);

	loop_io_drained(io, EPOLLIN);
	(void)ring_buffer__consume(set->ring);
}

/* A full ring loses events, never bytes: look at every pair instead. */
static void on_lost_timer(struct timer *timer)
{
	struct gate_set *set = container_of(timer, struct gate_set, lost_timer);
	uint64_t lost = fastpath_events_lost(set->fastpath);

	timer_start(timer, &set->io.loop->timers, LOST_CHECK_MS);
	if (lost == set->lost_seen)
		return;
	set->lost_seen = lost;
	for (uint32_t i = 0; i < set->fresh; i++)
		for (int side = 0; side < 2 && set->gates[i].set; side++)
			set->on_event(&set->gates[i], side, SEAM_EVENT_SPILL);
}

int gate_set_init(struct gate_set *set, struct fastpath *fastpath, uint16_t worker,
		  struct loop *loop, gate_event_fn *on_event)
{
	uint32_t share = fastpath->pairs / fastpath->workers;
	int fd = fastpath->ring_fds[worker], r;

	*set = (struct gate_set){ .fastpath = fastpath,
				  .worker = worker,
				  .first = worker * share,
				  .count = share,
				  .io = LOOP_IO_NULL,
				  .on_event = on_event };
	list_init(&set->free);
	timer_init(&set->lost_timer, on_lost_timer);
	set->gates = calloc(share, sizeof(*set->gates));
	set->ring = set->gates ? ring_buffer__new(fd, on_record, set, NULL) : NULL;
	if (!set->ring) {
		gate_set_deinit(set);
		return -ENOMEM;
	}
	r = loop_io_init(&set->io, loop, fd, on_ring);
	if (r) {
		gate_set_deinit(set);
		return r;
	}
	loop_io_want(&set->io, EPOLLIN);
	timer_start(&set->lost_timer, &loop->timers, LOST_CHECK_MS);
	return 0;
}

void gate_set_deinit(struct gate_set *set)
{
	if (!set->fastpath)
		return;
	assert(!set->used);
	if (set->io.loop)
		timer_stop(&set->lost_timer, &set->io.loop->timers);
	loop_io_deinit(&set->io);
	ring_buffer__free(set->ring);
	free(set->gates);
	*set = (struct gate_set){ .io = LOOP_IO_NULL };
}

static int bytes_acked(int fd, uint64_t *ret)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return -errno;
	*ret = info.tcpi_bytes_acked;
	return 0;
}

/* Bytes ever put into the send queue (and one for a SYN of ours), from below: what is acknowledged
 * between the two calls is missed, never counted twice. */
static int enqueued(int fd, uint64_t *ret)
{
	int unacked = 0, r;
	uint64_t acked = 0;

	r = bytes_acked(fd, &acked);
	if (r)
		return r;
	if (ioctl(fd, SIOCOUTQ, &unacked) < 0)
		return -errno;
	*ret = acked + (uint64_t)unacked;
	return 0;
}

/* Exactly: nothing was acknowledged in between. */
static int enqueued_exact(int fd, uint64_t *ret)
{
	for (int i = 0; i < STILL_TRIES; i++) {
		uint64_t before = 0, sum, after = 0;
		int unacked = 0, r = bytes_acked(fd, &before);

		if (r)
			return r;
		if (ioctl(fd, SIOCOUTQ, &unacked) < 0)
			return -errno;
		sum = before + (uint64_t)unacked;
		if (!unacked) { /* nothing could be */
			r = bytes_acked(fd, &before);
			*ret = before;
			return r;
		}
		r = bytes_acked(fd, &after);
		if (r)
			return r;
		if (before == after) {
			*ret = sum;
			return 0;
		}
	}
	return -EAGAIN;
}

static struct gate *take(struct gate_set *set)
{
	struct gate *gate;

	if (!list_empty(&set->free)) {
		gate = container_of(set->free.next, struct gate, link);
		list_unlink(&gate->link);
	} else if (set->fresh < set->count) {
		gate = &set->gates[set->fresh++];
		list_init(&gate->link);
	} else {
		return NULL;
	}
	gate->set = set;
	set->used++;
	return gate;
}

static void give(struct gate *gate)
{
	struct gate_set *set = gate->set;

	gate->set = NULL;
	set->used--;
	list_prepend(&set->free, &gate->link);
}

static void fill_label(struct seam_flow *flow, const struct addr *remote, const struct addr *local)
{
	flow->family = remote->family;
	flow->remote_port = remote->port;
	flow->local_port = local->port;
	if (remote->family == AF_INET) {
		memcpy(flow->remote, &remote->v4, sizeof(remote->v4));
		memcpy(flow->local, &local->v4, sizeof(local->v4));
	} else {
		memcpy(flow->remote, &remote->v6, sizeof(remote->v6));
		memcpy(flow->local, &local->v6, sizeof(local->v6));
	}
}

static int put_flow(struct gate *gate, int side, const struct gate_label *label)
{
	struct seam_flow flow = { .id = label->id,
				  .slot = slot_of(gate, side),
				  .worker = gate->set->worker };
	socklen_t len = sizeof(gate->cookie[side]);

	if (getsockopt(gate->fd[side], SOL_SOCKET, SO_COOKIE, &gate->cookie[side], &len) < 0)
		return -errno;
	if (side)
		fill_label(&flow, &label->destination, &label->source);
	else
		fill_label(&flow, &label->source, &label->destination);
	return bpf_map_update_elem(gate->set->fastpath->flows_fd, &gate->cookie[side], &flow,
				   BPF_ANY)
		       ? -errno
		       : 0;
}

static int put_socket(struct gate *gate, int side)
{
	uint32_t slot = slot_of(gate, side);
	uint64_t fd = (uint64_t)gate->fd[side];

	return bpf_map_update_elem(gate->set->fastpath->socks_fd, &slot, &fd, BPF_ANY) ? -errno : 0;
}

/* A client on this host: what it sends goes straight, the rest of this direction through user space.
 * -EAGAIN: it is in a system call on its socket, and may be for as long as it is kept from the processor. */
static int try_local(struct gate *gate, const struct gate_label *label)
{
	const struct local_flow flow = { .id = label->id,
					 .slot = slot_of(gate, 0),
					 .upstream_fd = gate->fd[1],
					 .source = label->source,
					 .destination = label->destination };
	struct seam_dir *dir = gate_dir(gate, 0);
	struct local *local = gate->set->fastpath->local;
	int r = local ? local_add(local, &flow, &dir->next_seq) : -ENOENT;

	if (r)
		return r == -EBUSY ? -EAGAIN : 0;
	gate->local_id = flow.id;
	dir->hold = 1;
	dir->gate = SEAM_GATE_LOCAL;
	return 0;
}

static void drop_flows(struct gate *gate)
{
	for (int side = 0; side < 2; side++)
		if (gate->cookie[side])
			(void)bpf_map_delete_elem(gate->set->fastpath->flows_fd,
						  &gate->cookie[side]);
	if (gate->local_id)
		local_remove(gate->set->fastpath->local, gate->local_id);
}

int gate_insert(struct gate_set *set, const int fd[2], const struct gate_label *label, void *owner,
		struct gate **ret)
{
	struct gate *gate = take(set);
	int r = 0;

	if (!gate)
		return -ENOSPC;
	*gate = (struct gate){ .set = set, .owner = owner, .fd = { fd[0], fd[1] } };
	list_init(&gate->link);
	for (int side = 0; side < 2 && !r; side++) {
		*gate_dir(gate, side) = (struct seam_dir){ .grow_at = ~0ULL,
							   .worker = set->worker };
		r = enqueued_exact(fd[side], &gate->enqueued_base[side]);
	}
	for (int side = 0; side < 2 && !r; side++)
		r = put_flow(gate, side, label);
	if (!r)
		r = try_local(gate, label);
	if (!r)
		r = put_socket(gate, 0);
	if (r) {
		drop_flows(gate);
		give(gate);
		return r;
	}
	(void)put_socket(gate, 1); /* with its peer absent the first one passes everything */
	*ret = gate;
	return 0;
}

void gate_remove(struct gate *gate)
{
	drop_flows(gate);
	give(gate);
}

enum seam_gate gate_state(const struct gate *gate, int side)
{
	return __atomic_load_n(&gate_dir(gate, side)->gate, __ATOMIC_ACQUIRE);
}

/* What of the upstream's send queue is not from user space is from the client. */
static void count_local(struct gate *gate)
{
	uint64_t others = gate->enqueued_base[1] + gate->sent[1], now = 0;

	if (gate->local_ended)
		return;
	if (enqueued_exact(gate->fd[1], &now) && enqueued(gate->fd[1], &now))
		return;
	if (now > others + gate->local_bytes)
		gate->local_bytes = now - others;
}

/* The client has said its last. The FIN that the upstream gets for it would count as a byte. */
static void end_local(struct gate *gate)
{
	if (!gate->local_id || gate->local_ended)
		return;
	count_local(gate);
	gate->local_ended = true;
}

uint64_t gate_kernel_bytes(struct gate *gate, int side)
{
	if (gate_state(gate, side) != SEAM_GATE_LOCAL)
		return __atomic_load_n(&gate_dir(gate, side)->redirected, __ATOMIC_RELAXED);
	count_local(gate);
	return gate->local_bytes;
}

bool gate_carries(const struct gate *gate, int side)
{
	return gate_state(gate, side) == SEAM_GATE_OPEN;
}

uint64_t gate_unread(const struct gate *gate, int side)
{
	uint64_t passed = __atomic_load_n(&gate_dir(gate, side)->passed, __ATOMIC_ACQUIRE);

	return passed > gate->received[side] ? passed - gate->received[side] : 0;
}

ssize_t gate_recv(struct gate *gate, int side, void *data, size_t size)
{
	ssize_t n = recv(gate->fd[side], data, size, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	gate->received[side] += (uint64_t)n;
	/* The end of the stream is seen at once, but passed bytes may still wait behind what the kernel has
	 * to send on this socket. */
	if (n || !size)
		return n;
	if (gate_unread(gate, side))
		return -EAGAIN;
	if (!side)
		end_local(gate);
	return 0;
}

/* What the peer's send queue is to have been given in all. */
static uint64_t due(const struct gate *gate, int side)
{
	return gate->enqueued_base[!side] + gate->sent[!side] +
	       __atomic_load_n(&gate_dir(gate, side)->redirected, __ATOMIC_ACQUIRE);
}

int64_t gate_queued(const struct gate *gate, int side)
{
	uint64_t all = due(gate, side), acked = 0;
	int r = bytes_acked(gate->fd[!side], &acked);

	return r ? r : acked < all ? (int64_t)(all - acked) : 0;
}

int gate_drained(struct gate *gate, int side)
{
	struct seam_dir *dir = gate_dir(gate, side);
	enum seam_gate state = gate_state(gate, side);
	uint64_t all = due(gate, side), now = 0;
	int r;

	if (!__atomic_load_n(&dir->redirected, __ATOMIC_ACQUIRE) || state == SEAM_GATE_LOCAL)
		return 1;
	if (state != SEAM_GATE_OPEN &&
	    dir->drained == dir->spills) /* known since, and nothing came after */
		return 1;
	r = enqueued(gate->fd[!side], &now);
	if (r || now < all)
		return r;
	__atomic_store_n(&dir->drained, __atomic_load_n(&dir->spills, __ATOMIC_RELAXED),
			 __ATOMIC_RELEASE);
	return 1;
}

void gate_wrote(struct gate *gate, int side, uint32_t bytes)
{
	struct seam_dir *dir = gate_dir(gate, side);

	gate->sent[!side] += bytes;
	__atomic_store_n(&dir->written, dir->written + bytes, __ATOMIC_RELEASE);
}

void gate_hold(struct gate *gate, int side)
{
	__atomic_store_n(&gate_dir(gate, side)->hold, 1, __ATOMIC_RELEASE);
}

void gate_relieve(struct gate *gate, int side)
{
	__atomic_store_n(&gate_dir(gate, side)->pressed, 0, __ATOMIC_RELEASE);
}

void gate_grow_at(struct gate *gate, int side, uint64_t bytes)
{
	__atomic_store_n(&gate_dir(gate, side)->grow_at, bytes, __ATOMIC_RELEASE);
}
