#include "daemon/app.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/log.h"
#include "ctl/server.h"
#include "daemon/limits.h"
#include "daemon/method.h"
#include "daemon/packets.h"
#include "daemon/tunnels.h"
#include "daemon/urltest.h"
#include "dns/resolver.h"
#include "flow/worker.h"
#include "kern/interfaces.h"
#include "kern/kernel.h"
#include "loop/signals.h"

#define TAINT_CHECK_MS 10000

struct app {
	struct config *config;
	struct loop loop;
	struct post_box post;
	struct signals signals;
	struct timer drain_timer, taint_timer;
	unsigned long taint;
	struct flow_config *flow_config;
	struct netif_monitor *interfaces;
	struct resolver *resolver; /* of the main thread, for the end points of tunnels */
	struct tunnels *tunnels;
	struct route_socket routes; /* of dial_env */
	struct dial_env dial_env;   /* what is dialed from the main thread: tests */
	struct urltest *urltest;
	struct fastpath *fastpath;
	char sockmap_reason[FASTPATH_REASON_MAX]; /* why it is not used; "": it is */
	struct packets packets;
	struct worker *workers;
	unsigned workers_made, workers_left;
	struct ctl_server *ctl;
	bool stopping;
};

/* A message to one worker, or from it. */
struct note {
	struct post post;
	struct app *app;
	struct worker *worker;
	struct netif_list *interfaces; /* a reference, NULL: the note is of something else */
};

static struct app *the_app; /* for callbacks that carry a worker only */

static void tell_workers(struct app *app, post_fn *fn)
{
	for (unsigned i = 0; i < app->workers_made; i++) {
		struct note *note = malloc(sizeof(*note));

		if (!note)
			continue;
		*note = (struct note){ .app = app, .worker = &app->workers[i] };
		post_send(&app->workers[i].post, &note->post, fn);
	}
}

static void take_interfaces(struct post *post)
{
	struct note *note = container_of(post, struct note, post);

	worker_set_interfaces(note->worker, note->interfaces);
	netif_list_unref(note->interfaces);
	free(note);
}

static void on_interfaces(void *owner, struct netif_list *list)
{
	struct app *app = owner;

	app->dial_env.interfaces = list;
	if (app->packets.packet)
		packet_interfaces(app->packets.packet, list);
	for (unsigned i = 0; i < app->workers_made; i++) {
		struct note *note = malloc(sizeof(*note));

		if (!note)
			continue;
		*note = (struct note){ .worker = &app->workers[i],
				       .interfaces = netif_list_ref(list) };
		post_send(&app->workers[i].post, &note->post, take_interfaces);
	}
}

static void on_worker_drained_main(struct post *post)
{
	struct note *note = container_of(post, struct note, post);
	struct app *app = note->app;

	free(note);
	if (--app->workers_left == 0)
		loop_stop(&app->loop);
}

static void on_worker_drained(struct worker *worker)
{
	struct note *note = malloc(sizeof(*note));

	if (!note)
		return; /* the drain timer ends it */
	*note = (struct note){ .app = the_app, .worker = worker };
	post_send(&the_app->post, &note->post, on_worker_drained_main);
}

static void drain_worker(struct post *post)
{
	struct note *note = container_of(post, struct note, post);
	struct worker *worker = note->worker;

	free(note);
	worker->on_drained = on_worker_drained;
	worker_drain(worker);
}

static void on_drain_timeout(struct timer *timer)
{
	struct app *app = container_of(timer, struct app, drain_timer);

	log_warn("daemon", "drain timeout: the flows that are left are reset");
	loop_stop(&app->loop);
}

static void on_signal(struct signals *signals, int signo)
{
	struct app *app = container_of(signals, struct app, signals);

	if (signo != SIGTERM && signo != SIGINT && signo != SIGQUIT)
		return;
	if (app->stopping || signo == SIGQUIT) {
		loop_stop(&app->loop);
		return;
	}
	app->stopping = true;
	log_info("daemon", "%s: draining for at most %u ms", strsignal(signo),
		 app->config->limits.drain_timeout_ms);
	timer_start(&app->drain_timer, &app->loop.timers, app->config->limits.drain_timeout_ms);
	app->workers_left = app->workers_made;
	tell_workers(app, drain_worker);
}

static void close_gates(struct post *post)
{
	struct note *note = container_of(post, struct note, post);

	note->worker->relay_env.gates_open = false;
	note->worker->relay_env.gates_why = REFUSED_TAINT;
	worker_stop_taking(note->worker);
	free(note);
}

/* The kernel has warned or oopsed since the start: it may have been us, so no new flow goes there. */
static void on_taint_timer(struct timer *timer)
{
	struct app *app = container_of(timer, struct app, taint_timer);
	unsigned long taint = kernel_taint();

	if (taint & ~app->taint) {
		log_error("daemon",
			  "the kernel became tainted (%#lx): new flows stay in user space", taint);
		tell_workers(app, close_gates);
		return;
	}
	timer_start(timer, &app->loop.timers, TAINT_CHECK_MS);
}

/* 0, or -errno with the reason in app->sockmap_reason. */
static int open_fastpath(struct app *app)
{
	const struct config_relay *relay = &app->config->relay;
	char *reason = app->sockmap_reason, pins[FASTPATH_REASON_MAX];
	int r;

	if (relay->method != RELAY_AUTO && relay->method != RELAY_SOCKMAP) {
		snprintf(reason, FASTPATH_REASON_MAX, "relay.method is %s",
			 relay_method_names[relay->method]);
		return 0;
	}
	r = method_open_sockmap(relay->force, app->config->limits.max_flows, app->config->workers,
				&app->fastpath, reason);
	if (r)
		return r;
	if (fastpath_pin(app->fastpath, pins))
		log_warn("daemon", "maps are not pinned for bpftool: %s", pins);
	return 0;
}

/* What carries flows that nothing better does. */
static const char *user_space_method(const struct app *app)
{
	enum relay_method method = app->config->relay.method;

	return method == RELAY_COPY || method == RELAY_PACKET ? "copy" : "splice";
}

static int choose_method(struct app *app)
{
	int r = open_fastpath(app);

	if (r && app->config->relay.method == RELAY_SOCKMAP) {
		log_error("daemon", "relay.method sockmap is not possible: %s",
			  app->sockmap_reason);
		return r;
	}
	if (app->fastpath && app->config->relay.local_clients)
		method_open_local(app->config->relay.force, app->fastpath);
	if (app->fastpath)
		log_info("daemon", "relay: sockmap%s",
			 app->fastpath->local ? ", local clients straight" : "");
	else
		log_info("daemon", "relay: %s; no sockmap: %s", user_space_method(app),
			 app->sockmap_reason);
	return 0;
}

/* What dials need beside the workers: dialers, interfaces, tunnels. */
static int start_network(struct app *app)
{
	const struct config *config = app->config;
	const struct netif_watcher watcher = { .changed = on_interfaces, .owner = app };
	uint32_t mark = config->outbounds[config->final_outbound].routing_mark;
	char reason[256];
	int r = flow_config_build(config, &app->flow_config, reason);

	if (!r) {
		snprintf(reason, sizeof(reason), "resolver of the main thread");
		r = resolver_new(&app->resolver, &app->loop, &config->dns, dialers_dns_socket,
				 app->flow_config->dialers);
	}
	if (!r)
		r = tunnels_new(&app->tunnels, &app->loop, config, app->resolver, reason);
	if (!r)
		r = netif_monitor_new(&app->interfaces, &app->loop, config,
				      mark ? mark : CONFIG_MARK, &watcher, reason);
	if (r)
		log_error("daemon", "%s", reason);
	return r;
}

static int start_workers(struct app *app)
{
	unsigned count = app->config->workers;
	char reason[256];
	int r;

	app->workers = calloc(count, sizeof(*app->workers));
	if (!app->workers)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		app->workers_made = i + 1;
		r = worker_init(&app->workers[i], i, app->flow_config, app->fastpath, REFUSED_UNFIT,
				reason);
		if (r) {
			log_error("daemon", "%s", reason);
			return r;
		}
		worker_set_interfaces(&app->workers[i], netif_monitor_list(app->interfaces));
	}
	packets_give(&app->packets, app->workers, count);
	for (unsigned i = 0; i < count; i++) {
		r = worker_start(&app->workers[i]);
		if (r) {
			log_error("daemon", "pthread_create: %s", strerror(-r));
			return r;
		}
	}
	return 0;
}

/* Groups that measure, and what ctl has tested: both dial from the main thread. */
static int start_tests(struct app *app)
{
	char reason[256] = "route socket of the main thread";
	int r = route_socket_init(&app->routes);

	app->dial_env = (struct dial_env){ .loop = &app->loop,
					   .resolver = app->resolver,
					   .interfaces = netif_monitor_list(app->interfaces),
					   .routes = &app->routes };
	if (!r)
		r = urltest_new(&app->urltest, &app->loop, app->config, app->flow_config->dialers,
				&app->dial_env, reason);
	if (r)
		log_error("daemon", "%s: %s", reason, strerror(-r));
	return r;
}

static unsigned delay_of(void *owner, size_t outbound, size_t member)
{
	return urltest_delay_ms(((struct app *)owner)->urltest, outbound, member);
}

static struct netif_list *interfaces_of(void *owner)
{
	return netif_monitor_list(((struct app *)owner)->interfaces);
}

static int start_ctl(struct app *app)
{
	const struct ctl_context context = { .loop = &app->loop,
					     .post = &app->post,
					     .workers = app->workers,
					     .worker_count = app->workers_made,
					     .config = app->flow_config,
					     .interfaces = interfaces_of,
					     .interfaces_owner = app,
					     .dial_env = &app->dial_env,
					     .delay_ms = delay_of,
					     .delay_owner = app,
					     .started_ms = clock_ms(),
					     .sockmap = app->fastpath != NULL,
					     .sockmap_reason = app->sockmap_reason,
					     .packet = app->packets.packet,
					     .packet_takes = app->packets.takes,
					     .packet_reason = app->packets.reason };
	char reason[256];
	int r = ctl_server_new(&app->ctl, app->config->control_socket, &context, reason);

	if (r)
		log_error("daemon", "control socket %s: %s", app->config->control_socket, reason);
	return r;
}

static int start_loop(struct app *app)
{
	int r = loop_init(&app->loop);

	if (!r)
		r = post_box_init(&app->post, &app->loop);
	if (!r)
		r = signals_init(&app->signals, &app->loop, on_signal);
	if (r)
		log_error("daemon", "main loop: %s", strerror(-r));
	return r;
}

static bool takes_udp(const struct config *config)
{
	for (size_t i = 0; i < config->inbound_count; i++)
		if (config->inbounds[i].network & CONFIG_NETWORK_UDP)
			return true;
	return false;
}

static int start(struct app *app)
{
	struct config *config = app->config;
	int r;

	if (!config->workers) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);

		config->workers = cores < 1                  ? 1
				  : cores > SEAM_WORKERS_MAX ? SEAM_WORKERS_MAX
							     : (uint32_t)cores;
	}
	limits_fit(&config->limits, takes_udp(config));
	app->taint = kernel_taint(); /* before the self-test: what it brings up counts as well */
	r = start_loop(app);
	if (!r)
		r = choose_method(app);
	if (!r)
		r = packets_open(&app->packets, config);
	if (!r)
		r = start_network(app);
	if (!r)
		r = start_workers(app);
	if (!r)
		r = start_tests(app);
	if (!r)
		r = start_ctl(app);
	if (r)
		return r;
	if (app->fastpath || app->packets.takes)
		on_taint_timer(&app->taint_timer);
	log_info("daemon", "seamd %s: %u workers, %u flows, %u UDP sessions", SEAM_VERSION,
		 config->workers, config->limits.max_flows, config->limits.max_udp_sessions);
	return 0;
}

static void stop(struct app *app)
{
	for (unsigned i = 0; i < app->workers_made; i++)
		worker_deinit(&app->workers[i]);
	ctl_server_free(app->ctl);
	urltest_free(app->urltest);
	route_socket_deinit(&app->routes);
	free(app->workers);
	netif_monitor_free(app->interfaces);
	tunnels_free(app->tunnels);
	resolver_free(app->resolver);
	flow_config_free(app->flow_config);
	fastpath_free(app->fastpath);
	packets_close(&app->packets, app->config);
	timer_stop(&app->drain_timer, &app->loop.timers);
	timer_stop(&app->taint_timer, &app->loop.timers);
	signals_deinit(&app->signals);
	post_box_deinit(&app->post);
	loop_deinit(&app->loop);
}

int app_run(struct config *config)
{
	struct app app = { .config = config,
			   .loop.epoll_fd = -1,
			   .routes.fd = -1,
			   .packets = PACKETS_NULL,
			   .post.io = LOOP_IO_NULL,
			   .signals.io = LOOP_IO_NULL };
	int r;

	the_app = &app;
	timer_init(&app.drain_timer, on_drain_timeout);
	timer_init(&app.taint_timer, on_taint_timer);
	signals_block();
	r = start(&app);
	if (!r)
		r = loop_run(&app.loop);
	stop(&app);
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
