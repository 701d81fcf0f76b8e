/* watch - tells clients of flows that begin and end, as they do.
 *
 * While somebody holds it, each worker hands a copy of the flow to the main thread, where it becomes one
 * line for all watchers. Of events that are on their way there are at most 2048: more are dropped, and
 * the watchers are told how many with {"event":"lost","count":N}.
 */
#pragma once
#include "ctl/ask.h"

/* Embedded in who watches. @on_line may take its own watcher out, and free it. */
struct watcher {
	struct list link;
	void (*on_line)(struct watcher *watcher, const char *line, size_t bytes);
};

int watch_new(struct watch **ret, const struct ctl_context *context);
/* When the workers have stopped: asks them for nothing any more. Events may still wait in the box of the
 * main thread: the last message there frees what they refer to, so until the loop runs again watchers may
 * leave and release. */
void watch_free(struct watch *watch);

/* Of who will watch, from before ask_start(watch_begin) until it does not want to any more. */
void watch_hold(struct watch *watch);
void watch_release(struct watch *watch);
/* Work for ask_start(): makes the worker tell. Once it is done a watcher misses nothing. */
void watch_begin(struct ask_part *part);

void watch_join(struct watch *watch, struct watcher *watcher);
void watch_leave(struct watcher *watcher); /* not joined is fine */
