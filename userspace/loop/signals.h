/* signals - a signalfd on a loop. */
#pragma once
#include "loop/loop.h"

struct signals;
typedef void signals_fn(struct signals *signals, int signo);

struct signals {
	struct loop_io io;
	signals_fn *fn;
};

/* Blocks what signals_init() will receive, and ignores SIGPIPE: before the first thread is made. */
void signals_block(void);
/* SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2 arrive in @fn. */
int signals_init(struct signals *signals, struct loop *loop, signals_fn *fn);
void signals_deinit(struct signals *signals);
