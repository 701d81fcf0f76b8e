#include "ctl/watch.h"
#include "ctl/describe.h"
#include "ctl/out.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define EVENTS_MAX 2048U /* less than what may wait for a watcher, so that a burst drops none */

struct watch {
	const struct ctl_context *context; /* NULL: the server is gone */
	struct post_box *home;
	struct post last;
	struct list watchers;
	unsigned holders;
	bool begun;         /* some worker may tell */
	unsigned under_way; /* events; by any thread, atomically */
	uint64_t lost;      /* by any thread, atomically */
};

struct event {
	struct post post;
	struct watch *watch;
	struct flow_info info;
};

int watch_new(struct watch **ret, const struct ctl_context *context)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->context = context;
	w->home = context->post;
	list_init(&w->watchers);
	*ret = w;
	return 0;
}

static void on_last(struct post *post)
{
	free(container_of(post, struct watch, last));
}

void watch_free(struct watch *w)
{
	w->context = NULL;
	post_send(w->home, &w->last, on_last);
}

static void end(struct ask_part *part)
{
	part->worker->watch = NULL;
}

static void end_if_unwatched(struct watch *w)
{
	struct ask *ask;

	if (w->holders || !w->begun)
		return;
	if (!ask_start(&ask, w->context, end, (union ask_arg){ .watch = w }))
		w->begun = false; /* without memory the next event tries again */
}

void watch_hold(struct watch *w)
{
	w->holders++;
	w->begun = true;
}

void watch_release(struct watch *w)
{
	w->holders--;
	if (w->context)
		end_if_unwatched(w);
}

void watch_join(struct watch *w, struct watcher *watcher)
{
	list_append(&w->watchers, &watcher->link);
}

void watch_leave(struct watcher *watcher)
{
	if (list_linked(&watcher->link))
		list_unlink(&watcher->link);
}

static void tell(struct watch *w, const struct out *line)
{
	if (line->failed)
		return;
	list_for_each_safe (link, &w->watchers) {
		struct watcher *watcher = container_of(link, struct watcher, link);

		watcher->on_line(watcher, line->data, line->len);
	}
}

static void tell_lost(struct watch *w)
{
	uint64_t lost = __atomic_exchange_n(&w->lost, 0, __ATOMIC_RELAXED);
	struct out line = { 0 };

	if (!lost)
		return;
	out_print(&line, "{\"event\":\"lost\",\"count\":%" PRIu64 "}\n", lost);
	tell(w, &line);
	out_deinit(&line);
}

static void tell_event(struct watch *w, const struct flow_info *info)
{
	json_t *event = describe_event(info);
	struct out line = { 0 };

	out_json(&line, event);
	out_put(&line, "\n", 1);
	tell(w, &line);
	out_deinit(&line);
	json_decref(event);
}

/* On the main thread. */
static void on_event(struct post *post)
{
	struct event *event = container_of(post, struct event, post);
	struct watch *w = event->watch;

	__atomic_fetch_sub(&w->under_way, 1, __ATOMIC_RELAXED);
	if (w->context) {
		end_if_unwatched(w);
		if (!list_empty(&w->watchers)) {
			tell_lost(w);
			tell_event(w, &event->info);
		}
	}
	flow_info_deinit(&event->info);
	free(event);
}

/* On the worker's thread. */
static void on_flow(void *ctx, struct flow_info *info)
{
	struct watch *w = ctx;
	bool room = __atomic_add_fetch(&w->under_way, 1, __ATOMIC_RELAXED) <= EVENTS_MAX;
	struct event *event = room ? malloc(sizeof(*event)) : NULL;

	if (!event) {
		__atomic_fetch_sub(&w->under_way, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&w->lost, 1, __ATOMIC_RELAXED);
		return;
	}
	event->watch = w;
	event->info = *info;
	info->attempts = NULL; /* the event's now */
	post_send(w->home, &event->post, on_event);
}

void watch_begin(struct ask_part *part)
{
	part->worker->watch_ctx = part->ask->arg.watch;
	part->worker->watch = on_flow;
}
