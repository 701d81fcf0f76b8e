/* wireguard_go - for kernels without WireGuard: a child process with a TUN interface. It ends with
 * us, whatever ends us, and the interface ends with it. */
#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/names.h"
#include "kern/wireguard_backend.h"
#include "net/sock.h"

#define PROGRAM      "wireguard-go"
#define START_MS     3000
#define STOP_MS      2000
#define GONE_MS      1000
#define POLL_US      10000
#define EXIT_NO_EXEC 127

static bool is_program(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

/* Searched for before fork(): what is missing is known in time, and the child need not search. */
static int find_program(char *path, size_t size)
{
	const char *dirs = getenv("PATH");

	for (dirs = dirs ? dirs : _PATH_STDPATH; *dirs; dirs += strspn(dirs, ":")) {
		int len = (int)strcspn(dirs, ":");
		int n = snprintf(path, size, "%.*s/" PROGRAM, len, dirs);

		if (len && n > 0 && (size_t)n < size && is_program(path))
			return 0;
		dirs += len;
	}
	return -ENOENT;
}

/* Between fork() and exec(), where other threads may hold any lock: system calls only. */
__attribute__((noreturn)) static void run_child(const char *path, char *const *argv,
						char *const *envp, pid_t parent)
{
	sigset_t none;
	int null_fd;

	sigemptyset(&none);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* Of its own session: Ctrl-C is for us, who drain first. */
	(void)setsid();
	/* It is sent when the *thread* that forked ends: the main thread, which ends last. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(0);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd >= 0)
		(void)dup2(null_fd, STDIN_FILENO);
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	(void)execve(path, argv, envp);
	_exit(EXIT_NO_EXEC);
}

static bool is_over(struct wireguard *w)
{
	pid_t r = w->pid ? waitpid(w->pid, &w->status, WNOHANG) : 1;

	if (r < 0 && errno == EINTR)
		return false;
	if (r)
		w->pid = 0;
	return r != 0;
}

static bool wait_over(struct wireguard *w, uint64_t ms)
{
	uint64_t deadline = clock_ms() + ms;

	while (!is_over(w)) {
		if (clock_ms() > deadline)
			return false;
		(void)usleep(POLL_US);
	}
	return true;
}

static bool go_has_ended(struct wireguard *w, char *reason)
{
	if (!is_over(w))
		return false;
	if (WIFSIGNALED(w->status))
		snprintf(reason, WIREGUARD_REASON_MAX, PROGRAM " was ended by signal %d",
			 WTERMSIG(w->status));
	else
		snprintf(reason, WIREGUARD_REASON_MAX, PROGRAM " ended with status %d",
			 WEXITSTATUS(w->status));
	return true;
}

/* What a process that was killed leaves; not what another namespace's has put there since. */
static void remove_dead_socket(const struct wireguard *w)
{
	char path[64 + IFNAMSIZ];

	if (wireguard_uapi_connect(w->link.name, -1) != -ECONNREFUSED)
		return;
	snprintf(path, sizeof(path), "/var/run/wireguard/%s.sock", w->link.name);
	(void)unlink(path);
}

static void go_destroy(struct wireguard *w)
{
	uint64_t deadline = clock_ms() + GONE_MS;

	if (w->pid) {
		(void)kill(w->pid, SIGTERM);
		if (!wait_over(w, STOP_MS) && w->pid) {
			(void)kill(w->pid, SIGKILL);
			(void)waitpid(w->pid, NULL, 0);
			w->pid = 0;
		}
	}
	if (w->pidfd >= 0)
		close(w->pidfd);
	w->pidfd = -1;
	remove_dead_socket(w);
	while (wireguard_link_is_there(&w->link) && clock_ms() < deadline)
		(void)usleep(POLL_US);
}

static int wait_ready(struct wireguard *w, char *reason)
{
	uint64_t deadline = clock_ms() + START_MS;
	size_t len;
	int fd;

	while (clock_ms() < deadline) {
		if (go_has_ended(w, reason)) {
			len = strlen(reason);
			snprintf(reason + len, WIREGUARD_REASON_MAX - len,
				 "; what it said is above");
			return -EIO;
		}
		fd = wireguard_uapi_connect(w->link.name, w->pid);
		if (fd >= 0) {
			close(fd);
			fd = wireguard_link_find(&w->link);
			return fd ? wireguard_failed(reason, PROGRAM " made no interface", fd) : 0;
		}
		(void)usleep(POLL_US);
	}
	return wireguard_failed(reason, PROGRAM " does not open /var/run/wireguard/NAME.sock",
				-ETIMEDOUT);
}

static int spawn(struct wireguard *w, const char *path)
{
	char search[] = "PATH=" _PATH_STDPATH, level[] = "LOG_LEVEL=error";
	/* Else it prints a box that says to rather use the kernel's. */
	char foreground[] = "WG_PROCESS_FOREGROUND=1";
	char program[] = PROGRAM, stay[] = "-f";
	char *argv[] = { program, stay, w->link.name, NULL };
	char *envp[] = { search, level, foreground, NULL };
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid)
		run_child(path, argv, envp, parent);
	w->pid = pid;
	w->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return 0;
}

static int go_create(struct wireguard *w, char *reason)
{
	char path[4096];
	int r = find_program(path, sizeof(path));

	if (r) {
		snprintf(reason, WIREGUARD_REASON_MAX,
			 "the kernel has no WireGuard and there is no " PROGRAM
			 ": install the package " PROGRAM ", or a kernel with CONFIG_WIREGUARD");
		return r;
	}
	r = spawn(w, path);
	if (r)
		return wireguard_failed(reason, "starting " PROGRAM, r);
	r = wait_ready(w, reason);
	if (r)
		go_destroy(w);
	return r;
}

/* wireguard-go binds when the link is up and has nobody to tell of a failure. Port 0 is free. */
static int probe_port(uint16_t port)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (size_t i = 0; port && i < ARRAY_SIZE(families); i++) {
		defer_close int fd = socket(families[i], SOCK_DGRAM | SOCK_CLOEXEC, 0);
		struct addr any = { .family = (sa_family_t)families[i], .port = port };
		int one = 1;

		if (fd < 0)
			continue;
		if (families[i] == AF_INET6)
			(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		if (sock_bind_address(fd, &any, false) == -EADDRINUSE)
			return -EADDRINUSE;
	}
	return 0;
}

static int go_configure(struct wireguard *w, uint32_t mark, char *reason)
{
	defer_close int fd = -1;
	int r = probe_port(w->config->listen_port);

	if (r)
		return wireguard_failed(reason, "listen_port", r);
	fd = wireguard_uapi_connect(w->link.name, w->pid);
	r = fd < 0 ? fd : wireguard_uapi_configure(fd, w->config, mark);
	return r ? wireguard_failed(reason, "configuring " PROGRAM, r) : 0;
}

static int go_set_endpoint(struct wireguard *w, const uint8_t *public_key,
			   const struct addr *endpoint, char *reason)
{
	defer_close int fd = -1;
	int r;

	if (go_has_ended(w, reason))
		return -ESRCH;
	fd = wireguard_uapi_connect(w->link.name, w->pid);
	r = fd < 0 ? fd : wireguard_uapi_set_endpoint(fd, public_key, endpoint);
	return r ? wireguard_failed(reason, "configuring " PROGRAM, r) : 0;
}

const struct wireguard_backend wireguard_go = { .name = PROGRAM,
						.create = go_create,
						.configure = go_configure,
						.set_endpoint = go_set_endpoint,
						.has_ended = go_has_ended,
						.destroy = go_destroy };
