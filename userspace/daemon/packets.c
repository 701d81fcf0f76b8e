#include "daemon/packets.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/log.h"
#include "flow/parked.h"
#include "flow/worker.h"

#define PIN_ROOT   "/sys/fs/bpf"
#define PIN_PREFIX "seam_" /* with the cookie of the network namespace */
#define LOCK       "seam-packet"
#define PAIRS_MOST \
	128U /* they take so small a part of the memory; more flows stay with their sockets */
#define PAIRS_FEW 1024U

static int fail(struct packets *p, const char *what, int err)
{
	snprintf(p->reason, sizeof(p->reason), "%s: %s", what, strerror(-err));
	return err;
}

/* Abstract names of unix sockets belong to a network namespace, and are gone with who has them: a lock that
 * nobody can leave behind. */
static int lock(struct packets *p)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(LOCK));

	memcpy(sa.sun_path + 1, LOCK, sizeof(LOCK) - 1);
	p->lock_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (p->lock_fd < 0)
		return fail(p, "socket", -errno);
	if (!bind(p->lock_fd, (struct sockaddr *)&sa, len))
		return 0;
	return fail(p, "another seamd has the packets of this network namespace", -errno);
}

static int find_dir(struct packets *p)
{
	uint64_t cookie = sock_netns_cookie(p->lock_fd);

	if (!cookie)
		return fail(p, "SO_NETNS_COOKIE", -EOPNOTSUPP);
	snprintf(p->dir, sizeof(p->dir), PIN_ROOT "/" PIN_PREFIX "%llu",
		 (unsigned long long)cookie);
	return 0;
}

static void sweep(void)
{
	unsigned count = packet_sweep(PIN_ROOT, PIN_PREFIX);

	if (count)
		log_info("daemon",
			 "packet: removed the pins of %u network namespaces that are gone", count);
}

static uint32_t pairs_for(const struct config_limits *limits)
{
	uint32_t wanted = limits->max_flows + limits->max_udp_sessions;
	uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t most = memory / PAIRS_MOST / sizeof(struct seam_pair);

	if (most < PAIRS_FEW)
		most = PAIRS_FEW;
	if (wanted <= most)
		return wanted;
	log_info("daemon", "packet: at most %llu flows and sessions at a time, for memory",
		 (unsigned long long)most);
	return (uint32_t)most;
}

static int load(struct packets *p, const struct config *config, bool wanted)
{
	uint32_t pairs;
	int r = lock(p);

	if (!r)
		r = find_dir(p);
	if (r || (!wanted && access(p->dir, F_OK)))
		return r;
	pairs = pairs_for(&config->limits);
	r = packet_load(&p->packet, pairs, p->dir, p->reason);
	if (r)
		return r;
	sweep();
	if (packet_pairs_max(p->packet) != pairs)
		log_warn("daemon",
			 "packet: flows of an earlier daemon go on, so there are %u pairs, as it "
			 "had, not %u; a start without such flows changes that",
			 packet_pairs_max(p->packet), pairs);
	return 0;
}

int packets_open(struct packets *p, const struct config *config)
{
	const struct config_relay *relay = &config->relay;
	bool forced = relay->method == RELAY_PACKET;
	bool wanted = forced || (relay->packet == PACKET_AUTO && relay->method == RELAY_AUTO);
	int r = load(p, config, wanted);

	if (r && forced) {
		log_error("daemon", "relay.method packet is not possible: %s", p->reason);
		return r;
	}
	p->takes = wanted && !r;
	if (p->takes)
		p->reason[0] = '\0';
	else if (!wanted)
		snprintf(p->reason, sizeof(p->reason),
			 relay->packet == PACKET_OFF ? "relay.packet is off"
						     : "relay.method is another");
	log_info("daemon", "packet: %s%s",
		 p->takes ? "flows are taken over" : "not used: ", p->reason);
	return 0;
}

void packets_give(const struct packets *p, struct worker *workers, unsigned count)
{
	size_t flows = 0, sessions = 0;
	uint64_t highest;

	if (!p->packet || !count)
		return;
	highest = parked_adopt(workers, count, p->packet);
	for (unsigned i = 0; i < count; i++) {
		flows += workers[i].adopted_count;
		sessions += workers[i].udp.pool.used;
		worker_skip_ids(&workers[i], highest);
		if (p->takes)
			worker_use_packet(&workers[i], p->packet);
	}
	if (flows || sessions)
		log_info("daemon",
			 "packet: %zu flows and %zu UDP sessions of an earlier daemon go on", flows,
			 sessions);
}

void packets_close(struct packets *p, const struct config *config)
{
	if (p->packet)
		packet_free(p->packet,
			    config->relay.on_exit == EXIT_KEEP && packet_pairs_used(p->packet) > 0);
	p->packet = NULL;
	if (p->lock_fd >= 0)
		close(p->lock_fd);
	p->lock_fd = -1;
}

static unsigned kill_all(struct packet *packet)
{
	struct packet_pair pair;
	struct packet_spec spec;
	unsigned count = 0;

	for (uint32_t i = 0; !packet_next(packet, i, &pair, &spec); i++) {
		i = pair.index;
		count += spec.protocol == IPPROTO_TCP;
		(void)packet_kill(&pair);
	}
	return count;
}

int packets_remove(char *ret)
{
	struct packets p = PACKETS_NULL;
	unsigned count = 0;
	int r = lock(&p);

	if (r == -EADDRINUSE)
		snprintf(p.reason, sizeof(p.reason),
			 "a seamd runs in this network namespace: seamctl packet remove");
	if (!r)
		r = find_dir(&p);
	if (!r && !access(p.dir, F_OK) && !packet_load(&p.packet, 1, p.dir, p.reason)) {
		count = kill_all(p.packet);
		packet_free(p.packet, false);
	}
	if (!r) {
		packet_unpin(p.dir);
		snprintf(ret, PACKET_REASON_MAX, "%u flows were reset%s%.180s", count,
			 *p.reason ? ", others end by themselves: " : "", p.reason);
		(void)packet_sweep(PIN_ROOT, PIN_PREFIX);
	} else {
		memcpy(ret, p.reason, sizeof(p.reason));
	}
	if (p.lock_fd >= 0)
		close(p.lock_fd);
	return r;
}
