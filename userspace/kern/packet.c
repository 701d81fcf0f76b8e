#include "kern/packet.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include "base/clock.h"
#include "base/names.h"
#include "kern/packet_object.h"

NAME_TABLE(packet_state_names, SEAM_PACKET_MISSED + 1, "off", "armed", "taken", "missed");

uint32_t packet_pairs_max(const struct packet *p)
{
	return p->count;
}

uint32_t packet_pairs_used(struct packet *p)
{
	uint32_t used;

	pthread_mutex_lock(&p->lock);
	used = p->used;
	pthread_mutex_unlock(&p->lock);
	return used;
}

static void fill_address(uint8_t bytes[16], const struct addr *addr)
{
	memset(bytes, 0, 16);
	if (addr->family == AF_INET)
		memcpy(bytes, &addr->v4, sizeof(addr->v4));
	else
		memcpy(bytes, &addr->v6, sizeof(addr->v6));
}

static struct seam_tuple tuple_of(const struct packet_end *end, uint8_t protocol)
{
	struct seam_tuple t = { .sport = htons(end->remote.port),
				.dport = htons(end->local.port),
				.protocol = protocol,
				.family = (uint8_t)end->remote.family };

	fill_address(t.saddr, &end->remote);
	fill_address(t.daddr, &end->local);
	return t;
}

static bool is_link_local(const struct addr *addr)
{
	return addr->family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&addr->v6);
}

static int check(const struct packet_spec *spec)
{
	const sa_family_t family = spec->end[0].remote.family;

	if (family != AF_INET && family != AF_INET6)
		return -EAFNOSUPPORT;
	for (int i = 0; i < 2; i++) {
		const struct packet_end *end = &spec->end[i];

		if (end->remote.family != family || end->local.family != family)
			return -EAFNOSUPPORT;
		if (is_link_local(&end->remote) || is_link_local(&end->local))
			return -EOPNOTSUPP;
	}
	if (spec->protocol != IPPROTO_TCP && spec->protocol != IPPROTO_UDP)
		return -EPROTONOSUPPORT;
	return 0;
}

static int claim(struct packet *p, struct packet_pair *ret)
{
	uint32_t index;

	if (!p->free_count)
		return -ENOSPC;
	index = p->free[p->free_first];
	p->free_first = (p->free_first + 1) % p->count;
	p->free_count--;
	p->used++;
	*ret = (struct packet_pair){ p, &p->pairs[index], index };
	return 0;
}

static void release(const struct packet_pair *pair)
{
	struct packet *p = pair->packet;

	pair->shared->used = 0;
	p->free[(p->free_first + p->free_count) % p->count] = pair->index;
	p->free_count++;
	p->used--;
}

/* Network byte order, IPv4 in the first. */
struct next_hop {
	uint32_t family, word[4];
};

static struct next_hop next_hop_of(const struct packet_end *end)
{
	struct next_hop next = { .family = end->next_hop.family };

	if (next.family != AF_UNSPEC)
		fill_address((uint8_t *)next.word, &end->next_hop);
	return next;
}

/* A packet that is sent meanwhile gets the kernel's own answer rather than half of ours. */
static void store_way(struct seam_side *s, const struct packet_end *end)
{
	struct next_hop next = next_hop_of(end);

	__atomic_store_n(&s->next_family, 0, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 4; i++)
		__atomic_store_n(&s->next_hop[i], next.word[i], __ATOMIC_RELAXED);
	__atomic_store_n(&s->mark, end->mark, __ATOMIC_RELAXED);
	__atomic_store_n(&s->ifindex, (uint32_t)end->interface, __ATOMIC_RELAXED);
	__atomic_store_n(&s->next_family, next.family, __ATOMIC_RELEASE);
}

static bool has_way(const struct seam_side *s, const struct packet_end *end)
{
	struct next_hop next = next_hop_of(end);

	return s->ifindex == (uint32_t)end->interface && s->mark == end->mark &&
	       s->next_family == next.family &&
	       !memcmp(s->next_hop, next.word, sizeof(s->next_hop));
}

static void fill(const struct packet_pair *pair, const struct packet_spec *spec)
{
	struct seam_pair *s = pair->shared;

	memset(s, 0, sizeof(*s));
	for (int side = 0; side < 2; side++) {
		s->side[side].in = tuple_of(&spec->end[side], spec->protocol);
		store_way(&s->side[side], &spec->end[side]);
	}
	if (spec->protocol == IPPROTO_UDP) {
		s->state = SEAM_PACKET_TAKEN;
		s->taken_at = clock_ns();
		s->quiet_ms = spec->quiet_ms;
	}
	s->used = 1;
}

static void delete_halves(const struct packet_pair *pair, int count)
{
	for (int side = 0; side < count; side++)
		(void)bpf_map_delete_elem(pair->packet->halves_fd, &pair->shared->side[side].in);
}

/* What a UDP client sends is left alone at first, see packet_open(). */
static uint32_t first_half(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? 1 : 0;
}

static int publish(const struct packet_pair *pair, const struct packet_spec *spec)
{
	struct packet *p = pair->packet;

	if (bpf_map_update_elem(p->labels_fd, &pair->index, &spec->label, BPF_ANY))
		return -errno;
	for (uint32_t side = first_half(spec->protocol); side < 2; side++) {
		struct seam_half half = { .pair = pair->index, .side = side };

		if (bpf_map_update_elem(p->halves_fd, &pair->shared->side[side].in, &half,
					BPF_NOEXIST)) {
			int r = -errno;

			delete_halves(pair, (int)side);
			(void)bpf_map_delete_elem(p->labels_fd, &pair->index);
			return r == -E2BIG ? -ENOSPC : r;
		}
	}
	return 0;
}

static int add(struct packet *p, const struct packet_spec *spec, struct packet_pair *ret)
{
	struct packet_pair pair;
	int r = 0;

	for (int i = 0; !r && i < 2; i++)
		r = packet_hook_add(p, spec->end[i].interface, PACKET_INGRESS);
	if (!r)
		r = claim(p, &pair);
	if (r)
		return r;
	fill(&pair, spec);
	r = publish(&pair, spec);
	if (r)
		release(&pair);
	else
		*ret = pair;
	return r;
}

int packet_add(struct packet *p, const struct packet_spec *spec, struct packet_pair *ret)
{
	int r = check(spec);

	if (r)
		return r;
	pthread_mutex_lock(&p->lock);
	r = add(p, spec, ret);
	pthread_mutex_unlock(&p->lock);
	return r;
}

int packet_open(const struct packet_pair *pair)
{
	struct seam_half half = { .pair = pair->index, .side = 0 };

	if (bpf_map_update_elem(pair->packet->halves_fd, &pair->shared->side[0].in, &half,
				BPF_NOEXIST))
		return -errno;
	return 0;
}

bool packet_is_open(const struct packet_pair *pair)
{
	struct seam_half half;

	return !bpf_map_lookup_elem(pair->packet->halves_fd, &pair->shared->side[0].in, &half) &&
	       half.pair == pair->index;
}

void packet_remove(struct packet_pair *pair)
{
	struct packet *p = pair ? pair->packet : NULL;

	if (!p)
		return;
	/* Both directions at once; then nobody finds it. */
	__atomic_fetch_or(&pair->shared->closing, SEAM_CLOSING_KILLED, __ATOMIC_SEQ_CST);
	delete_halves(pair, 2);
	(void)bpf_map_delete_elem(p->labels_fd, &pair->index);
	pthread_mutex_lock(&p->lock);
	release(pair);
	pthread_mutex_unlock(&p->lock);
	*pair = (struct packet_pair){ .packet = NULL };
}

int packet_set_way(const struct packet_pair *pair, int side, const struct packet_end *end)
{
	struct seam_side *s = &pair->shared->side[side];
	int r = has_way(s, end) ? 0 : packet_attach(pair->packet, end->interface);

	if (!r && !has_way(s, end))
		store_way(s, end);
	return r;
}

int packet_set_label(const struct packet_pair *pair, const struct seam_label *label)
{
	return bpf_map_update_elem(pair->packet->labels_fd, &pair->index, label, BPF_EXIST) ? -errno
											    : 0;
}

struct totals {
	uint32_t put, received; /* into the send queue, ever; from the host */
};

static int read_totals(int fd, struct totals *ret)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	int unacked = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
	    ioctl(fd, SIOCOUTQ, &unacked) < 0)
		return -errno;
	ret->put = (uint32_t)info.tcpi_bytes_acked + (uint32_t)unacked;
	ret->received = (uint32_t)info.tcpi_bytes_received;
	return 0;
}

int packet_arm(const struct packet_pair *pair, const int fd[2], uint64_t snapshot,
	       const uint32_t owed[2])
{
	struct seam_pair *s = pair->shared;
	uint32_t word = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);
	struct totals totals[2] = { { 0 } };

	for (int i = 0; i < 2; i++) {
		int r = read_totals(fd[i], &totals[i]);

		if (r)
			return r;
	}
	if (!packet_seen_both(pair) || packet_seen(pair) != snapshot)
		return -EAGAIN;
	if (SEAM_PACKET_STATE(word) != SEAM_PACKET_OFF &&
	    SEAM_PACKET_STATE(word) != SEAM_PACKET_MISSED)
		return -EBUSY;
	for (int i = 0; i < 2; i++)
		s->balance[i] = totals[!i].put + owed[i] - totals[i].received;
	s->snapshot = snapshot;
	s->why = 0;
	word = ((word & ~3U) + SEAM_PACKET_ARMING) | SEAM_PACKET_ARMED;
	__atomic_store_n(&s->state, word, __ATOMIC_RELEASE);
	return 0;
}

enum seam_packet_state packet_disarm(const struct packet_pair *pair)
{
	uint32_t *state = &pair->shared->state;
	uint32_t word = __atomic_load_n(state, __ATOMIC_ACQUIRE);

	while (SEAM_PACKET_STATE(word) != SEAM_PACKET_TAKEN &&
	       SEAM_PACKET_STATE(word) != SEAM_PACKET_OFF)
		if (__atomic_compare_exchange_n(state, &word, word & ~3U, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			return SEAM_PACKET_OFF;
	return (enum seam_packet_state)SEAM_PACKET_STATE(word);
}

void packet_stats(const struct packet_pair *pair, struct packet_stats *ret)
{
	const struct seam_pair *s = pair->shared;

	ret->taken_ns = __atomic_load_n(&s->taken_at, __ATOMIC_RELAXED);
	ret->closing = __atomic_load_n(&s->closing, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++) {
		ret->packets[i] = __atomic_load_n(&s->side[i].packets, __ATOMIC_RELAXED);
		ret->bytes[i] = __atomic_load_n(&s->side[i].bytes, __ATOMIC_RELAXED);
		ret->last_ns[i] = __atomic_load_n(&s->side[i].last, __ATOMIC_RELAXED);
		ret->dropped[i] = __atomic_load_n(&s->side[i].dropped, __ATOMIC_RELAXED);
	}
}

bool packet_ended(const struct packet_pair *pair)
{
	const uint32_t both = SEAM_CLOSING_ACKED(0) | SEAM_CLOSING_ACKED(1);
	uint32_t closing = __atomic_load_n(&pair->shared->closing, __ATOMIC_RELAXED);

	return closing & SEAM_CLOSING_RST || (closing & both) == both;
}

static struct addr addr_of(const uint8_t bytes[16], uint8_t family, uint16_t port)
{
	struct addr addr = { .family = family, .port = ntohs(port) };

	if (family == AF_INET)
		memcpy(&addr.v4, bytes, sizeof(addr.v4));
	else
		memcpy(&addr.v6, bytes, sizeof(addr.v6));
	return addr;
}

struct packet_end packet_end_of(const struct packet_pair *pair, int side)
{
	const struct seam_side *s = &pair->shared->side[side];
	struct packet_end end = {
		.remote = addr_of(s->in.saddr, s->in.family, s->in.sport),
		.local = addr_of(s->in.daddr, s->in.family, s->in.dport),
		.interface = (int)s->ifindex,
		.mark = s->mark,
	};

	if (s->next_family)
		end.next_hop = addr_of((const uint8_t *)s->next_hop, (uint8_t)s->next_family, 0);
	return end;
}

static void read_spec(const struct packet_pair *pair, struct packet_spec *ret)
{
	*ret = (struct packet_spec){ .protocol = pair->shared->side[0].in.protocol,
				     .quiet_ms = pair->shared->quiet_ms };
	for (int i = 0; i < 2; i++)
		ret->end[i] = packet_end_of(pair, i);
	(void)bpf_map_lookup_elem(pair->packet->labels_fd, &pair->index, &ret->label);
}

int packet_next(struct packet *p, uint32_t from, struct packet_pair *ret,
		struct packet_spec *ret_spec)
{
	for (uint32_t i = from; i < p->count; i++) {
		if (!__atomic_load_n(&p->pairs[i].used, __ATOMIC_ACQUIRE))
			continue;
		*ret = (struct packet_pair){ p, &p->pairs[i], i };
		if (ret_spec)
			read_spec(ret, ret_spec);
		return 0;
	}
	return -ENOENT;
}
