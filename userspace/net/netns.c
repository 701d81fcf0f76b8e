/* The thread of a namespace answers one question at a time: @turn is held by who asks, from the question to
 * its answer; @lock guards the question itself. Threads of a process share their descriptors, so a socket
 * opened in the thread is everybody's. */
#include "net/netns.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "base/cleanup.h"

enum question { QUESTION_NONE, QUESTION_ENTER, QUESTION_SOCKET, QUESTION_STOP };

struct netns {
	pthread_t thread;
	pthread_mutex_t turn, lock;
	pthread_cond_t asked, answered;
	enum question question; /* QUESTION_NONE: answered */
	int fd;                 /* QUESTION_ENTER: of the namespace */
	int family, type, protocol;
	int answer;
};

/* setns() moves the calling thread alone, and only this one ever calls it. */
static int answer(const struct netns *netns)
{
	int r = 0;

	if (netns->question == QUESTION_ENTER)
		r = setns(netns->fd, CLONE_NEWNET);
	else if (netns->question == QUESTION_SOCKET)
		r = socket(netns->family, netns->type, netns->protocol);
	return r < 0 ? -errno : r;
}

static void *serve(void *arg)
{
	struct netns *netns = arg;
	bool stop = false;

	pthread_mutex_lock(&netns->lock);
	while (!stop) {
		while (netns->question == QUESTION_NONE)
			pthread_cond_wait(&netns->asked, &netns->lock);
		stop = netns->question == QUESTION_STOP;
		netns->answer = answer(netns);
		netns->question = QUESTION_NONE;
		pthread_cond_signal(&netns->answered);
	}
	pthread_mutex_unlock(&netns->lock);
	return NULL;
}

/* With @turn held, or while nobody else knows of @netns. */
static int ask(struct netns *netns, enum question question)
{
	int r;

	pthread_mutex_lock(&netns->lock);
	netns->question = question;
	pthread_cond_signal(&netns->asked);
	while (netns->question != QUESTION_NONE)
		pthread_cond_wait(&netns->answered, &netns->lock);
	r = netns->answer;
	pthread_mutex_unlock(&netns->lock);
	return r;
}

static int open_name(const char *name)
{
	char path[PATH_MAX];
	int len = snprintf(path, sizeof(path), "%s%s", name[0] == '/' ? "" : "/run/netns/", name);
	int fd;

	if (len >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Signals are for the threads that expect them. */
static int start_thread(struct netns *netns)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&netns->thread, NULL, serve, netns);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

static void destroy(struct netns *netns)
{
	pthread_cond_destroy(&netns->answered);
	pthread_cond_destroy(&netns->asked);
	pthread_mutex_destroy(&netns->lock);
	pthread_mutex_destroy(&netns->turn);
	free(netns);
}

int netns_new(struct netns **ret, const char *name, const char **ret_call)
{
	defer_close int fd = open_name(name);
	struct netns *netns;
	int r;

	if (fd < 0) {
		*ret_call = "open";
		return fd;
	}
	netns = calloc(1, sizeof(*netns));
	if (!netns) {
		*ret_call = "malloc";
		return -ENOMEM;
	}
	pthread_mutex_init(&netns->turn, NULL);
	pthread_mutex_init(&netns->lock, NULL);
	pthread_cond_init(&netns->asked, NULL);
	pthread_cond_init(&netns->answered, NULL);
	netns->fd = fd;
	r = start_thread(netns);
	if (r) {
		*ret_call = "pthread_create";
		destroy(netns);
		return r;
	}
	r = ask(netns, QUESTION_ENTER);
	if (r) {
		*ret_call = "setns";
		netns_free(netns);
		return r;
	}
	*ret = netns;
	return 0;
}

void netns_free(struct netns *netns)
{
	if (!netns)
		return;
	(void)ask(netns, QUESTION_STOP);
	pthread_join(netns->thread, NULL);
	destroy(netns);
}

int netns_socket(struct netns *netns, int family, int type, int protocol)
{
	int r;

	if (!netns) {
		r = socket(family, type, protocol);
		return r < 0 ? -errno : r;
	}
	pthread_mutex_lock(&netns->turn);
	netns->family = family;
	netns->type = type;
	netns->protocol = protocol;
	r = ask(netns, QUESTION_SOCKET);
	pthread_mutex_unlock(&netns->turn);
	return r;
}
