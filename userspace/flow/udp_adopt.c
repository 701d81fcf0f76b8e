#include "flow/udp_adopt.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "dial/direct_udp.h"
#include "dial/packet_direct.h"
#include "flow/label.h"
#include "flow/worker.h"

static int open_way(struct worker *w, const struct packet_spec *spec, struct packet_way **ret)
{
	const struct packet_end *end = &spec->end[UPSTREAM];
	uint32_t flags = spec->label.socket;
	struct direct_udp_socket was = { .local = end->local,
					 .peer = end->remote,
					 .mark = end->mark,
					 .interface = (int)spec->label.interface,
					 .connected = flags & SEAM_UDP_CONNECTED,
					 .transparent = flags & SEAM_UDP_TRANSPARENT,
					 .may_fragment = flags & SEAM_UDP_FRAGMENT };

	if (flags & SEAM_UDP_ANY)
		was.local = (struct addr){ .family = end->local.family, .port = end->local.port };
	return packet_direct_reopen(ret, &w->loop, &was);
}

/* As far as the label knows it; rules are another list by now. */
static void remember(struct udp_session *s, const struct seam_label *label)
{
	uint64_t age_ms = label_age_ms(label);

	s->adopted = true;
	s->id = label->id;
	s->start_ms = age_ms < s->start_ms ? s->start_ms - age_ms : 0;
	s->outbound = label_outbound(s->worker->config, label);
	if (*label->host)
		s->domain = strndup(label->host, sizeof(label->host)); /* for people only */
	for (int side = 0; side < SIDES; side++) {
		s->datagrams[side] = label->datagrams[side];
		s->bytes[side] = label->bytes[side];
	}
	udp_table_use(&s->worker->udp.table, &s->entry, true);
}

/* 0 or -errno */
static int adopt(struct worker *w, const struct packet_pair *pair, const struct packet_spec *spec)
{
	const struct inbound *inbound = label_inbound(w->config, &spec->label);
	struct packet_way *way;
	struct udp_session *s;
	int r;

	if (!w->udp.batch || !inbound)
		return -ENOENT;
	r = open_way(w, spec, &way);
	if (r)
		return r;
	s = udp_session_make(w, inbound, &spec->end[CLIENT].remote, &spec->end[CLIENT].local);
	if (!s) {
		packet_close(way);
		return -ENOSPC;
	}
	remember(s, &spec->label);
	udp_session_relay(s, way, spec->quiet_ms);
	udp_pair_adopt(s, pair, spec);
	return 0;
}

bool udp_adopt(struct worker *workers, const struct packet_pair *pair,
	       const struct packet_spec *spec)
{
	const struct seam_label *label = &spec->label;
	uint32_t count = workers[0].config->workers;
	char source[ADDR_STRLEN], destination[ADDR_STRLEN];
	struct packet_stats stats;
	int r;

	packet_stats(pair, &stats);
	if (!packet_is_open(pair) || stats.closing || label->workers != count || !label->id)
		return false;
	r = adopt(&workers[(label->id - 1) % count], pair, spec);
	if (r)
		log_info("udp", "#%llu %s -> %s of an earlier daemon ends: %s",
			 (unsigned long long)label->id,
			 addr_format(&spec->end[CLIENT].remote, source),
			 addr_format(&spec->end[CLIENT].local, destination), strerror(-r));
	return !r;
}
