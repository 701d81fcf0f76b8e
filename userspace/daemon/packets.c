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

#define PIN_DIR "/sys/fs/bpf/seam_%llu"
#define LOCK    "seam-packet"

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
	snprintf(p->dir, sizeof(p->dir), PIN_DIR, (unsigned long long)cookie);
	return 0;
}

static int load(struct packets *p, const struct config *config, bool wanted)
{
	int r = lock(p);

	if (!r)
		r = find_dir(p);
	if (r || (!wanted && access(p->dir, F_OK)))
		return r;
	return packet_load(&p->packet, config->limits.max_flows + config->limits.max_udp_sessions,
			   p->dir, p->reason);
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
	if (p->packet && *p->dir)
		(void)rmdir(p->dir); /* unless something is kept in it */
	p->packet = NULL;
	if (p->lock_fd >= 0)
		close(p->lock_fd);
	p->lock_fd = -1;
}
