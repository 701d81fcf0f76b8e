#include "flow/park.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "flow/worker.h"

#define LINGER_MS      3000U /* after the end: a last acknowledgement may be lost, a RST may be forged */
#define LOOK_LEAST_MS  500U
#define LOOK_MOST_MS   10000U
#define WAY_MS         5000U /* not every change of a route is one of the interfaces */
#define SILENT_MOST_MS (24ULL * 3600 * 1000) /* our keep-alive does not ask the hosts any more */
#define IDLE_CHECKS    8U

static bool is_over(const struct packet_stats *stats)
{
	return stats->closing & (SEAM_CLOSING_KILLED | SEAM_CLOSING_REUSED);
}

static uint32_t limit_of(const struct packet_stats *stats, const struct config_relay *config)
{
	uint32_t idle = config->idle_timeout_ms, half = config->half_close_timeout_ms;
	bool half_closed = stats->closing & (SEAM_CLOSING_FIN(CLIENT) | SEAM_CLOSING_FIN(UPSTREAM));

	if (!half_closed || !half)
		return idle;
	return idle && idle < half ? idle : half;
}

static uint32_t next_look(uint64_t silent_ms, uint32_t limit)
{
	uint64_t delay = silent_ms / 4;

	if (limit && delay > limit / IDLE_CHECKS)
		delay = limit / IDLE_CHECKS;
	if (delay > LOOK_MOST_MS)
		delay = LOOK_MOST_MS;
	return delay < LOOK_LEAST_MS ? LOOK_LEAST_MS : (uint32_t)delay;
}

/* Bytes count for the limits, as elsewhere; what the hosts' keep-alive sends does not. */
enum flow_end park_judge(const struct packet_pair *pair, struct park *park,
			 const struct config_relay *config, uint64_t now_ms, uint32_t *ret_delay_ms)
{
	struct packet_stats stats;
	uint64_t bytes, last_ms, silent_ms;
	uint32_t limit;

	packet_stats(pair, &stats);
	bytes = stats.bytes[CLIENT] + stats.bytes[UPSTREAM];
	last_ms = (stats.last_ns[CLIENT] > stats.last_ns[UPSTREAM] ? stats.last_ns[CLIENT]
								   : stats.last_ns[UPSTREAM]) /
		  1000000;
	silent_ms = now_ms > last_ms ? now_ms - last_ms : 0;
	park->last_ms = last_ms;
	if (bytes != park->bytes) {
		park->bytes = bytes;
		park->since_ms = now_ms;
	}
	limit = limit_of(&stats, config);
	*ret_delay_ms = next_look(silent_ms, limit);
	if (is_over(&stats) || (packet_ended(pair) && silent_ms >= LINGER_MS))
		return stats.closing & SEAM_CLOSING_RST ? END_RESET : END_DONE;
	if (packet_ended(pair))
		return END_NONE;
	if (limit && now_ms - park->since_ms >= limit)
		return limit == config->idle_timeout_ms ? END_IDLE : END_HALF_CLOSED_IDLE;
	return silent_ms >= SILENT_MOST_MS ? END_IDLE : END_NONE;
}

bool park_wants_way(struct park *park, uint64_t now_ms)
{
	if (park->last_ms <= park->way_ms || now_ms - park->way_ms < WAY_MS)
		return false;
	park->way_ms = now_ms;
	return true;
}

void park_release(struct packet_pair *pair, enum flow_end why, bool kept)
{
	if (kept)
		memset(pair, 0, sizeof(*pair));
	else if (why == END_DONE || why == END_RESET)
		packet_remove(pair);
	else
		(void)packet_kill(pair);
}

/* Without a route the way stays what it was: it may come back, as for any socket. */
void park_follow(struct tcp_flow *f)
{
	for (int side = 0; side < SIDES && f->relay.pair.packet; side++) {
		struct packet_end end;

		if (!relay_packet_way(&f->worker->routes, f->side[side].fd, &end))
			(void)packet_set_way(&f->relay.pair, side, &end);
	}
}

static void on_timer(struct timer *timer)
{
	struct tcp_flow *f = container_of(timer, struct tcp_flow, timer);
	struct worker *w = f->worker;
	uint32_t delay;
	enum flow_end end = park_judge(&f->relay.pair, &f->park, &w->config->relay, w->loop.now_ms,
				       &delay);

	if (end) {
		tcp_flow_kill(f, end);
		return;
	}
	if (park_wants_way(&f->park, w->loop.now_ms))
		park_follow(f);
	timer_start(&f->timer, &w->loop.timers, delay);
}

/* A socket that still has something to say would say it again and again: another one takes its place. */
static void silence(struct stream *stream)
{
	struct addr local, remote;
	int fd;

	stream_detach(stream);
	if (!sock_unacknowledged(stream->fd) || sock_local_addr(stream->fd, &local) ||
	    sock_peer_addr(stream->fd, &remote))
		return;
	fd = sock_stand_in(&local, &remote, stream->fd);
	if (fd >= 0)
		stream->fd = fd;
}

bool park_begin(struct tcp_flow *f)
{
	struct worker *w = f->worker;

	relay_stop(&f->relay);
	timer_stop(&f->timer, &w->loop.timers);
	if (w->draining && w->config->relay.on_exit == EXIT_KEEP)
		return true;
	for (int side = 0; side < SIDES; side++)
		silence(&f->side[side]);
	f->park = (struct park){ .since_ms = w->loop.now_ms, .way_ms = w->loop.now_ms };
	timer_init(&f->timer, on_timer);
	timer_start(&f->timer, &w->loop.timers, LOOK_LEAST_MS);
	return false;
}

void park_end(struct tcp_flow *f)
{
	bool kept = f->end == END_DETACHED ||
		    (f->end == END_SHUTDOWN && f->worker->config->relay.on_exit == EXIT_KEEP);

	if (f->relay.env && relay_packet_settle(&f->relay))
		park_release(&f->relay.pair, f->end, kept);
}

static uint64_t now_since_epoch_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void park_tell(const struct relay *relay)
{
	const struct tcp_flow *f = container_of(relay, struct tcp_flow, relay);
	char why[RELAY_MISSED_STRLEN];

	if (relay->untaken)
		flow_log(f, LOG_DEBUG, "packet: not taken: %s",
			 relay_untaken_names[relay->untaken]);
	else
		flow_log(f, LOG_DEBUG, "packet: missed: %s",
			 relay_missed_format(relay->missed, why));
}

void park_label(const struct relay *relay, struct seam_label *ret)
{
	const struct tcp_flow *f = container_of(relay, struct tcp_flow, relay);

	*ret = (struct seam_label){
		.id = f->id,
		.started_ms = now_since_epoch_ms() - (f->worker->loop.now_ms - f->start_ms),
		.bytes = { relay->pump[CLIENT].bytes, relay->pump[UPSTREAM].bytes },
		.rule = f->rule == CONFIG_NONE ? -1 : (int32_t)f->rule,
	};
	snprintf(ret->inbound, sizeof(ret->inbound), "%s", f->inbound->tag);
	snprintf(ret->outbound, sizeof(ret->outbound), "%s", f->outbound->tag);
	snprintf(ret->host, sizeof(ret->host), "%s", f->domain ? f->domain : "");
}
