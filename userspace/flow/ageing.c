#include "flow/ageing.h"

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
enum flow_end ageing_judge(struct ageing *a, const struct packet_pair *pair,
			   const struct config_relay *config, uint64_t now_ms,
			   uint32_t *ret_delay_ms)
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
	a->last_ms = last_ms;
	if (bytes != a->bytes) {
		a->bytes = bytes;
		a->since_ms = now_ms;
	}
	limit = limit_of(&stats, config);
	*ret_delay_ms = next_look(silent_ms, limit);
	if (is_over(&stats) || (packet_ended(pair) && silent_ms >= LINGER_MS))
		return stats.closing & SEAM_CLOSING_RST ? END_RESET : END_DONE;
	if (packet_ended(pair))
		return END_NONE;
	if (limit && now_ms - a->since_ms >= limit)
		return limit == config->idle_timeout_ms ? END_IDLE : END_HALF_CLOSED_IDLE;
	return silent_ms >= SILENT_MOST_MS ? END_IDLE : END_NONE;
}

bool ageing_wants_way(struct ageing *a, uint64_t now_ms)
{
	if (a->last_ms <= a->way_ms || now_ms - a->way_ms < WAY_MS)
		return false;
	a->way_ms = now_ms;
	return true;
}
