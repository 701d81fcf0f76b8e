/* udp_carry - what becomes of a client's datagrams, once that is known: they are sent, answered here, or refused. */
#include <stdlib.h>
#include "dial/packet.h"
#include "flow/udp.h"
#include "flow/worker.h"

/* To nobody, and the client is told so unless a rule says not to. */
static void refuse(struct udp_session *s, const uint8_t *data, size_t len)
{
	if (!s->silent)
		udp_tell_unreachable(s->worker, &s->entry.source, &s->destination, data, len);
	udp_dropped(s, UDP_DROP_REFUSED, 1);
}

/* The pieces of a train are questions of their own. */
static void each_piece(struct udp_session *s, const struct datagram *datagram,
		       void (*take)(struct udp_session *, const uint8_t *, size_t))
{
	size_t step = datagram->segment ? datagram->segment : datagram->len, at = 0;

	do {
		size_t left = datagram->len - at;

		take(s, datagram->data + at, left < step ? left : step);
		at += step;
	} while (at < datagram->len);
}

/* To the first destination as the dial understood it, to others as they are. */
static void forward(struct udp_session *s, const struct datagram *list, unsigned count)
{
	struct datagram out[DATAGRAM_BATCH];
	struct datagram_sent sent;

	for (unsigned i = 0; i < count; i++) {
		out[i] = list[i];
		if (addr_equal(&list[i].destination, &s->destination))
			out[i].destination.family = AF_UNSPEC;
		else
			s->has_others = true;
	}
	packet_send(s->way, out, count, &sent);
	if (sent.failed)
		udp_dropped(s, UDP_DROP_SEND, sent.failed);
	udp_pair_asked(s);
}

void udp_carry(struct udp_session *s, const struct datagram *list, unsigned count)
{
	if (s->state == UDP_RELAY) {
		forward(s, list, count);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		each_piece(s, &list[i], s->state == UDP_DNS ? udp_dns_take : refuse);
}

static bool is_ours(const struct udp_session *s, const struct addr *destination)
{
	return s->entry.destination.family == AF_UNSPEC || addr_equal(destination, &s->destination);
}

void udp_carry_held(struct udp_session *s, enum flow_end end)
{
	const struct addr source = s->entry.source;
	const struct inbound *inbound = s->inbound;
	struct worker *w = s->worker;
	struct held_datagram *held;
	struct udp_held others;

	udp_held_init(&others, s->held.budget);
	while ((held = udp_held_take(&s->held)) != NULL) {
		const struct datagram datagram = udp_held_datagram(held, &source);

		if (!is_ours(s, &held->destination)) {
			udp_held_add(&others, held);
			continue;
		}
		udp_carry(s, &datagram, 1);
		free(held);
	}
	if (end)
		udp_session_end(s, end);
	while ((held = udp_held_take(&others)) != NULL) {
		const struct datagram datagram = udp_held_datagram(held, &source);

		udp_take(w, inbound, &datagram, 1);
		free(held);
	}
}
