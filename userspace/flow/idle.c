#include "flow/idle.h"
#include "flow/worker.h"

#define KEEP_ALIVE_AFTER_MS 15000U /* most flows are over before keep-alive could matter */
#define IDLE_CHECKS         8U     /* a timeout: how late it may be noticed is an eighth of it */

static void set_keep_alive(struct tcp_flow *f)
{
	f->keep_alive_set = true;
	for (int side = 0; side < SIDES; side++)
		(void)sock_set_keep_alive(f->side[side].fd, &f->outbound->keep_alive);
}

bool idle_half_closed(const struct tcp_flow *f)
{
	return f->relay.pump[CLIENT].done != f->relay.pump[UPSTREAM].done;
}

/* The idle limit that holds now, 0: none. */
static uint32_t idle_limit_ms(const struct tcp_flow *f)
{
	const struct config_relay *config = &f->worker->config->relay;
	uint32_t idle = config->idle_timeout_ms, half = config->half_close_timeout_ms;

	if (!idle_half_closed(f) || !half)
		return idle;
	return idle && idle < half ? idle : half;
}

static void restart_timer(struct tcp_flow *f)
{
	uint32_t limit = idle_limit_ms(f), delay = limit / IDLE_CHECKS + 1;

	if (!limit && f->keep_alive_set)
		return;
	if (!f->keep_alive_set && (!limit || delay > KEEP_ALIVE_AFTER_MS))
		delay = KEEP_ALIVE_AFTER_MS;
	timer_start(&f->timer, &f->worker->loop.timers, delay);
}

static void on_timer(struct timer *timer)
{
	struct tcp_flow *f = container_of(timer, struct tcp_flow, timer);
	uint64_t now = f->worker->loop.now_ms;
	uint64_t bytes = relay_bytes(&f->relay, CLIENT) + relay_bytes(&f->relay, UPSTREAM);
	uint32_t limit = idle_limit_ms(f);

	if (!f->keep_alive_set && now - f->start_ms >= KEEP_ALIVE_AFTER_MS)
		set_keep_alive(f);
	if (bytes != f->idle_bytes) {
		f->idle_bytes = bytes;
		f->idle_since_ms = now;
	} else if (limit && now - f->idle_since_ms >= limit) {
		tcp_flow_kill(f, idle_half_closed(f) ? END_HALF_CLOSED_IDLE : END_IDLE);
		return;
	}
	restart_timer(f);
}

void idle_begin(struct tcp_flow *f)
{
	timer_stop(&f->timer, &f->worker->loop.timers);
	timer_init(&f->timer, on_timer);
	f->idle_since_ms = f->worker->loop.now_ms;
	if (!f->outbound->keep_alive.enabled)
		f->keep_alive_set = true;
	else if (f->outbound->keep_alive.idle_ms < KEEP_ALIVE_AFTER_MS)
		set_keep_alive(f);
	restart_timer(f);
}

void idle_restart(struct tcp_flow *f)
{
	f->idle_since_ms = f->worker->loop.now_ms;
	restart_timer(f);
}
