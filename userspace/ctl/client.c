#include "ctl/client.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "ctl/commands.h"
#include "seam/ctl.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_MS            10000
#define WATCHER_WAITS_MAX  (1U << 20)
#define REQUEST_FIRST_SIZE 4096U

struct client {
	struct list link;
	struct client_set *set;
	struct loop_io io;
	struct timer idle;
	struct ucred who;
	char *in; /* what was received and not yet looked at */
	size_t in_len, in_size;
	struct out out;
	struct call call; /* only while the workers are asked or its task goes on */
	struct ask *ask;  /* the same; NULL otherwise */
	struct watcher watcher;
	bool tasked; /* the call's task goes on */
	bool holds_watch, watches;
	bool eof;  /* it sends no more; what it asked is answered all the same */
	bool last; /* after what waits in @out the connection ends */
};

enum step { STEP_GONE, STEP_WAIT, STEP_NEXT };

static void client_free(struct client *c)
{
	watch_leave(&c->watcher);
	if (c->holds_watch)
		watch_release(c->set->watch);
	ask_cancel(c->ask);
	call_deinit(&c->call);
	timer_stop(&c->idle, &c->io.loop->timers);
	loop_io_close(&c->io);
	list_unlink(&c->link);
	c->set->count--;
	out_deinit(&c->out);
	free(c->in);
	free(c);
}

static void restart_idle(struct client *c)
{
	if (c->watches)
		timer_stop(&c->idle, &c->io.loop->timers);
	else
		timer_start(&c->idle, &c->io.loop->timers, IDLE_MS);
}

static void on_idle(struct timer *timer)
{
	client_free(container_of(timer, struct client, idle));
}

static enum step send_out(struct client *c)
{
	ssize_t n = send(c->io.fd, c->out.data + c->out.at, out_waits(&c->out), MSG_NOSIGNAL);

	if (n < 0 && errno == EAGAIN) {
		loop_io_drained(&c->io, EPOLLOUT);
		return STEP_WAIT;
	}
	if (n < 0)
		return STEP_GONE;
	out_eat(&c->out, (size_t)n);
	restart_idle(c);
	return STEP_NEXT;
}

static void answer(struct client *c)
{
	bool watches = c->call.command && c->call.command->watches;

	call_answer(&c->call, &c->out);
	call_deinit(&c->call);
	if (watches) {
		c->watches = true;
		watch_join(c->set->watch, &c->watcher);
	}
	restart_idle(c);
}

static void client_run(struct client *c, bool may_read);

static void on_asked(void *owner, struct ask *ask)
{
	struct client *c = owner;

	c->ask = NULL;
	c->call.ask = ask;
	answer(c);
	client_run(c, false);
}

static void log_change(const struct client *c)
{
	char *text = json_dumps(c->call.request, JSON_COMPACT | JSON_ENSURE_ASCII);

	log_info("ctl", "%s by pid %d, uid %u: %s", c->call.command->name, (int)c->who.pid,
		 c->who.uid, text ? text : "");
	free(text);
}

static enum step ask_workers(struct client *c)
{
	const struct command *command = c->call.command;
	union ask_arg arg = { .flow = (uint64_t)call_number(&c->call, "flow") };

	if (command->watches) {
		arg.watch = c->set->watch;
		c->holds_watch = true;
		watch_hold(c->set->watch);
	}
	if (ask_start(&c->ask, c->set->context, command->work, arg))
		return STEP_GONE;
	ask_tell(c->ask, on_asked, c);
	return STEP_NEXT;
}

static void on_task_done(void *owner)
{
	struct client *c = owner;

	c->tasked = false;
	answer(c);
	client_run(c, false);
}

static enum step begin_task(struct client *c)
{
	int r = c->call.command->begin(&c->call);

	if (r) {
		if (r < 0)
			c->call.command = NULL; /* the answer is why not */
		answer(c);
		return STEP_NEXT;
	}
	c->tasked = true;
	c->call.task->done = on_task_done;
	c->call.task->owner = c;
	return STEP_NEXT;
}

static enum step take_request(struct client *c, size_t bytes)
{
	int r = call_init(&c->call, c->set->context, c->in, bytes);

	c->in_len -= bytes + 1;
	memmove(c->in, c->in + bytes + 1, c->in_len);
	if (!r && c->call.command->mutating)
		log_change(c);
	if (!r && c->call.command->work)
		return ask_workers(c);
	if (!r && c->call.command->begin)
		return begin_task(c);
	answer(c);
	return STEP_NEXT;
}

static bool make_room(struct client *c)
{
	size_t size = c->in_size ? c->in_size * 2 : REQUEST_FIRST_SIZE;
	char *in;

	if (c->in_len < c->in_size)
		return true;
	in = realloc(c->in, size);
	if (!in)
		return false;
	c->in = in;
	c->in_size = size;
	return true;
}

static enum step receive(struct client *c)
{
	ssize_t n;

	if (!make_room(c))
		return STEP_GONE;
	n = recv(c->io.fd, c->in + c->in_len, c->in_size - c->in_len, 0);
	if (n < 0 && errno == EAGAIN) {
		loop_io_drained(&c->io, EPOLLIN | EPOLLRDHUP);
		return STEP_WAIT;
	}
	if (n < 0)
		return STEP_GONE;
	c->eof = n == 0;
	c->in_len += (size_t)n;
	return STEP_NEXT;
}

static enum step next_request(struct client *c, bool *may_read)
{
	const char *newline = c->in_len ? memchr(c->in, '\n', c->in_len) : NULL;

	if (newline)
		return take_request(c, (size_t)(newline - c->in));
	if (c->in_len >= SEAM_CTL_REQUEST_MAX) {
		call_refuse("the request is too long", &c->out);
		c->last = true;
		return STEP_NEXT;
	}
	if (c->eof)
		return STEP_GONE;
	if (!*may_read)
		return STEP_WAIT;
	*may_read = false;
	return receive(c);
}

/* A watcher has nothing more to say; that it only stopped sending is fine. */
static enum step watch_input(struct client *c, bool *may_read)
{
	enum step step;

	if (c->eof || !*may_read)
		return STEP_WAIT;
	*may_read = false;
	step = receive(c);
	c->in_len = 0;
	return step;
}

/* One thing; while something waits to be sent nothing else is looked at. */
static enum step step(struct client *c, bool *may_read)
{
	if (c->out.failed)
		return STEP_GONE;
	if (out_waits(&c->out))
		return send_out(c);
	if (c->last)
		return STEP_GONE;
	if (c->ask || c->tasked || c->watches) {
		if (c->io.have & (EPOLLHUP | EPOLLERR))
			return STEP_GONE;
		return c->watches ? watch_input(c, may_read) : STEP_WAIT;
	}
	return next_request(c, may_read);
}

static uint32_t waits_for(const struct client *c)
{
	if (out_waits(&c->out))
		return EPOLLOUT;
	if (c->ask || c->tasked || c->eof)
		return 0;
	return EPOLLIN | EPOLLRDHUP;
}

/* @c may be gone on return. At most one recv() a turn. */
static void client_run(struct client *c, bool may_read)
{
	enum step result;

	do
		result = step(c, &may_read);
	while (result == STEP_NEXT);
	if (result == STEP_GONE)
		client_free(c);
	else
		loop_io_want(&c->io, waits_for(c));
}

static void on_io(struct loop_io *io)
{
	client_run(container_of(io, struct client, io), true);
}

static void on_line(struct watcher *watcher, const char *line, size_t bytes)
{
	struct client *c = container_of(watcher, struct client, watcher);
	bool waited = out_waits(&c->out);

	out_put(&c->out, line, bytes);
	if (out_waits(&c->out) > WATCHER_WAITS_MAX) {
		log_info("ctl", "flows watch of pid %d, uid %u: dropped, it does not read",
			 (int)c->who.pid, c->who.uid);
		client_free(c);
	} else if (!waited || c->out.failed) {
		client_run(c, false);
	}
}

static void turn_away(int fd)
{
	struct out out = { 0 };
	char text[64];

	snprintf(text, sizeof(text), "there are %d clients already", CLIENTS_MAX);
	call_refuse(text, &out);
	if (!out.failed)
		(void)!send(fd, out.data, out.len, MSG_NOSIGNAL);
	out_deinit(&out);
}

int client_new(struct client_set *set, int fd)
{
	defer_close int owned = fd;
	struct client *c;
	socklen_t len = sizeof(c->who);
	int r;

	if (set->count >= CLIENTS_MAX) {
		turn_away(fd);
		return -EUSERS;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = loop_io_init(&c->io, set->context->loop, fd, on_io);
	if (r) {
		free(c);
		return r;
	}
	c->io.fd = TAKE_FD(owned);
	c->set = set;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c->who, &len))
		c->who = (struct ucred){ .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	timer_init(&c->idle, on_idle);
	c->watcher.on_line = on_line;
	list_init(&c->watcher.link);
	list_init(&c->link);
	list_append(&set->clients, &c->link);
	set->count++;
	restart_idle(c);
	loop_io_want(&c->io, EPOLLIN | EPOLLRDHUP);
	return 0;
}

void client_free_all(struct client_set *set)
{
	list_for_each_safe (link, &set->clients)
		client_free(container_of(link, struct client, link));
}
