#include "loop/signals.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void fill(sigset_t *set)
{
	static const int wanted[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2 };

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		sigaddset(set, wanted[i]);
}

void signals_block(void)
{
	sigset_t set;

	fill(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void on_readable(struct loop_io *io)
{
	struct signals *signals = container_of(io, struct signals, io);
	struct signalfd_siginfo info;

	if (read(io->fd, &info, sizeof(info)) == sizeof(info))
		signals->fn(signals, (int)info.ssi_signo);
	else
		loop_io_drained(io, EPOLLIN);
}

int signals_init(struct signals *signals, struct loop *loop, signals_fn *fn)
{
	sigset_t set;
	int fd, r;

	fill(&set);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	signals->fn = fn;
	r = loop_io_init(&signals->io, loop, fd, on_readable);
	if (r < 0) {
		close(fd);
		return r;
	}
	loop_io_want(&signals->io, EPOLLIN);
	return 0;
}

void signals_deinit(struct signals *signals)
{
	int fd = signals->io.fd;

	if (!signals->io.loop)
		return;
	loop_io_deinit(&signals->io);
	close(fd);
}
