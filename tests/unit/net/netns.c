/* Sockets come from the namespace that was named, for every thread, and nothing is left of it after. */
#include "common.h"
#include <pthread.h>
#include <signal.h>
#include "net/netns.h"

#define THREADS 4
#define ROUNDS  200

static int other_fd;        /* of the other namespace */
static uint64_t own, other; /* cookies */
static char other_path[64];

static uint64_t cookie_here(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = namespace_of(fd);

	close(fd);
	return cookie;
}

/* A thread that was joined is gone a little later. */
static void assert_threads(unsigned expected)
{
	for (int i = 0; i < 1000 && entries_of("/proc/self/task") != expected; i++)
		usleep(1000);
	assert_int_equal(entries_of("/proc/self/task"), expected);
}

static void test_socket_is_there(void **state)
{
	unsigned fds = open_fds(), threads = entries_of("/proc/self/task");
	struct netns *netns = NULL;
	const char *call = "untouched";
	int fd;

	assert_int_equal(netns_new(&netns, other_path, &call), 0);
	assert_string_equal(call, "untouched");
	fd = netns_socket(netns, AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	assert_int_equal(namespace_of(fd), other);
	assert_int_equal(get_option(fd, SOL_SOCKET, SO_DOMAIN), AF_INET6);
	assert_int_equal(get_option(fd, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	assert_int_equal(cookie_here(), own); /* who asks stays where it is */
	assert_int_equal(netns_socket(netns, 999, SOCK_STREAM, 0), -EAFNOSUPPORT);
	assert_int_equal(netns_socket(netns, AF_INET, SOCK_STREAM, 253), -EPROTONOSUPPORT);
	fd = netns_socket(netns, AF_INET, SOCK_DGRAM, 0); /* after an error */
	assert_int_equal(namespace_of(fd), other);
	close(fd);
	netns_free(netns);
	assert_int_equal(open_fds(), fds);
	assert_threads(threads);
}

static void test_none_is_ours(void **state)
{
	int fd = netns_socket(NULL, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_int_equal(namespace_of(fd), own);
	close(fd);
	assert_int_equal(netns_socket(NULL, 999, SOCK_STREAM, 0), -EAFNOSUPPORT);
	netns_free(NULL);
}

static void test_by_name(void **state)
{
	char name[32], command[96];
	struct netns *netns = NULL;
	const char *call = "";
	uint64_t cookie;
	int fd, r;

	snprintf(name, sizeof(name), "seamtest-%d", (int)getpid());
	snprintf(command, sizeof(command), "ip netns add %s 2>/dev/null", name);
	if (system(command))
		skip();
	r = netns_new(&netns, name, &call);
	snprintf(command, sizeof(command), "ip netns del %s", name);
	assert_int_equal(system(command), 0); /* the thread keeps it */
	assert_int_equal(r, 0);
	fd = netns_socket(netns, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	cookie = namespace_of(fd);
	assert_true(cookie != own && cookie != other);
	close(fd);
	netns_free(netns);
}

static void refuses(const char *name, int err, const char *expected)
{
	unsigned fds = open_fds(), threads = entries_of("/proc/self/task");
	struct netns *netns = NULL;
	const char *call = "";

	assert_int_equal(netns_new(&netns, name, &call), err);
	assert_string_equal(call, expected);
	assert_null(netns);
	assert_int_equal(open_fds(), fds);
	assert_threads(threads);
}

static void test_refused(void **state)
{
	char longest[5000];

	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	refuses("seamtest-there-is-none", -ENOENT, "open");
	refuses("/nowhere/at/all", -ENOENT, "open");
	refuses(longest, -ENAMETOOLONG, "open");
	refuses("/proc/self/status", -EINVAL, "setns");
	refuses("/proc/self/ns/uts", -EINVAL, "setns");
}

static void *ask_often(void *arg)
{
	struct netns *netns = arg;
	uintptr_t wrong = 0;

	for (int i = 0; i < ROUNDS; i++) {
		int family = i % 2 ? AF_INET : AF_INET6;
		int fd = netns_socket(netns, family, SOCK_DGRAM | SOCK_CLOEXEC, 0), domain = 0;
		uint64_t cookie = 0;
		socklen_t len = sizeof(cookie), domain_len = sizeof(domain);

		wrong += fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) < 0 ||
			 cookie != other ||
			 getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) < 0 ||
			 domain != family;
		close(fd);
	}
	return (void *)wrong;
}

static void test_many_threads(void **state)
{
	struct netns *netns = NULL;
	pthread_t threads[THREADS];
	const char *call;
	unsigned fds = open_fds();

	assert_int_equal(netns_new(&netns, other_path, &call), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_often, netns), 0);
	for (int i = 0; i < THREADS; i++) {
		void *wrong = NULL;

		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	netns_free(netns);
	assert_int_equal(open_fds(), fds);
}

static uint64_t blocked_signals(const char *thread)
{
	char path[300], line[256];
	unsigned long long mask = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", thread);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		(void)sscanf(line, "SigBlk: %llx", &mask);
	(void)fclose(file);
	return mask;
}

static unsigned threads_without_signals(void)
{
	const uint64_t want = 1ULL << (SIGTERM - 1) | 1ULL << (SIGINT - 1) | 1ULL << (SIGHUP - 1);
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/task");

	for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
		if (entry->d_name[0] != '.')
			count += (blocked_signals(entry->d_name) & want) == want;
	closedir(dir);
	return count;
}

static void test_signals_are_for_others(void **state)
{
	unsigned without = threads_without_signals();
	struct netns *netns = NULL;
	const char *call;
	sigset_t before = { 0 }, after = { 0 };

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(netns_new(&netns, other_path, &call), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(threads_without_signals(), without + 1);
	netns_free(netns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_socket_is_there),
		cmocka_unit_test(test_none_is_ours),
		cmocka_unit_test(test_by_name),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_many_threads),
		cmocka_unit_test(test_signals_are_for_others),
	};
	struct netns *first = NULL;
	const char *call;
	int failed;

	if (!enter_new_namespace())
		return SKIP;
	other = cookie_here();
	other_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	snprintf(other_path, sizeof(other_path), "/proc/self/fd/%d", other_fd);
	if (!enter_new_namespace())
		return SKIP;
	own = cookie_here();
	/* A sanitizer's own thread comes with the first one, and stays. */
	if (netns_new(&first, other_path, &call))
		return 1;
	netns_free(first);
	usleep(20000);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	close(other_fd);
	return failed;
}
