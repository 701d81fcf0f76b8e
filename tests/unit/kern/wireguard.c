/* A WireGuard interface, really made in a network namespace of its own: what the system and
 * wireguard-go see of it, and that nothing is left of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "net/sock.h"
#include "wireguard_config.h"

#define MANY_IPS 200

static char out[1 << 16];

/* What @command prints, in a buffer that the next call uses again. */
__attribute__((format(printf, 1, 2))) static const char *run(const char *format, ...)
{
	char command[512];
	va_list args;
	FILE *pipe;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	out[fread(out, 1, sizeof(out) - 1, pipe)] = '\0';
	pclose(pipe);
	return out;
}

static unsigned count(const char *text, const char *word)
{
	unsigned found = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		found++;
	return found;
}

#define assert_has(text, word)                                         \
	do {                                                           \
		const char *text_ = (text);                            \
		if (!strstr(text_, word))                              \
			fail_msg("\"%s\" is not in: %s", word, text_); \
	} while (0)

/* wireguard-go's own view. */
static const char *get(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	size_t used = 0;
	ssize_t n;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "/var/run/wireguard/%s.sock", name);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(write(fd, "get=1\n\n", 7), 7);
	out[0] = '\0';
	while (!strstr(out, "\n\n") && (n = read(fd, out + used, sizeof(out) - 1 - used)) > 0) {
		used += (size_t)n;
		out[used] = '\0';
	}
	close(fd);
	assert_has(out, "errno=0\n\n");
	return out;
}

static struct wireguard *make(const struct config_wireguard *config)
{
	char reason[WIREGUARD_REASON_MAX] = "";
	struct wireguard *w = NULL;
	int r = wireguard_new(&w, config, MARK, reason);

	if (r)
		fail_msg("wireguard_new: %d, %s", r, reason);
	return w;
}

static void assert_nothing_left(void)
{
	char path[128];

	assert_int_equal(if_nametoindex(name), 0);
	assert_null(strstr(run("ip -j rule; ip -j -6 rule"), name));
	snprintf(path, sizeof(path), "/var/run/wireguard/%s.sock", name);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void test_interface(void **state)
{
	struct config_wireguard *config;
	struct wireguard *w;
	char table[32], word[96];

	config = make_config(2, 2);
	config->addresses[0].bits = 32;
	config->peers[0].allowed_ips[0] = prefix("0.0.0.0", 0);
	config->peers[0].allowed_ips[1] = prefix("::", 0);
	config->peers[1].allowed_ips[0] = prefix("10.5.6.7", 19); /* bits of the host */
	w = make(config);
	snprintf(table, sizeof(table), "%u", 0x5ea0000U + if_nametoindex(name));
	assert_has(run("ip -j link show %s", name), "\"mtu\":1380");
	assert_has(out, "\"UP\"");
	assert_has(run("ip -j addr show %s", name), "\"local\":\"10.99.0.2\",\"prefixlen\":32");
	assert_has(out, "\"local\":\"fd99::2\",\"prefixlen\":64");
	assert_null(strstr(out, "fe80:"));
	assert_has(run("ip -j route show table %s", table), "\"dst\":\"default\"");
	assert_has(out, "\"dst\":\"10.5.0.0/19\"");
	assert_has(run("ip -j -6 route show table %s", table), "\"dst\":\"default\"");
	assert_has(out, "\"dst\":\"fd98:1:1::/64\"");
	assert_null(
		strstr(run("ip -j route show table main; ip -j -6 route show table main"), name));
	snprintf(word, sizeof(word), "\"oif\":\"%s\",\"table\":\"%s\"", name, table);
	assert_has(run("ip -j rule show pref 540"), word);
	assert_has(run("ip -j -6 rule show pref 540"), word);
	/* A socket that is bound to it, and one that is not. */
	assert_has(run("ip -j route get 192.0.2.1 oif %s", name), "\"prefsrc\":\"10.99.0.2\"");
	assert_has(run("ip -j -6 route get 2001:db8::1 oif %s", name), "\"prefsrc\":\"fd99::2\"");
	assert_null(strstr(run("ip -j route get 192.0.2.1 2>&1"), name));
	wireguard_free(w);
	free_config(config);
	assert_nothing_left();
}

static void test_go_sees(void **state)
{
	char reason[WIREGUARD_REASON_MAX];
	struct config_wireguard *config;
	struct wireguard *w;
	struct addr addr;

	config = make_config(3, 2);
	config->listen_port = PORT;
	config->peers[1].address = NULL;
	config->peers[2].keepalive_s = 0;
	w = make(config);
	assert_true(wireguard_is_up(w));
	assert_string_equal(wireguard_backend(w), "wireguard-go");
	assert_has(get(), "fwmark=1514\n");
	assert_has(out, "listen_port=51999\n");
	assert_int_equal(count(out, "public_key="), 3);
	assert_int_equal(count(out, "allowed_ip="), 6);
	assert_int_equal(count(out, "preshared_key=7777"), 2);
	assert_has(out, "allowed_ip=fd98:2:1::/64\n");
	assert_has(out, "persistent_keepalive_interval=26\n");
	assert_has(out, "endpoint=192.0.2.7:51999\n");
	assert_int_equal(count(out, "endpoint="), 1);

	assert_int_equal(addr_parse("192.0.2.9", 5000, &addr), 0);
	assert_int_equal(wireguard_set_endpoint(w, 1, &addr, reason), 0);
	assert_has(get(), "endpoint=192.0.2.9:5000\n");
	assert_int_equal(count(out, "endpoint="), 2);
	assert_int_equal(count(out, "allowed_ip="), 6);
	assert_int_equal(addr_parse("2001:db8::9", 5001, &addr), 0);
	assert_int_equal(wireguard_set_endpoint(w, 1, &addr, reason), 0);
	assert_has(get(), "endpoint=[2001:db8::9]:5001\n");
	assert_int_equal(count(out, "endpoint="), 2);
	assert_int_equal(wireguard_set_endpoint(w, 3, &addr, reason), -EINVAL);
	wireguard_free(w);
	free_config(config);
	assert_nothing_left();
}

static int dial(sa_family_t family, const char *ip)
{
	struct sockaddr_storage sa;
	struct addr to;
	int r, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(addr_parse(ip, 80, &to), 0);
	assert_int_equal(sock_bind_interface(fd, name), 0);
	r = connect(fd, (struct sockaddr *)&sa, addr_to_sockaddr(&to, &sa)) ? -errno : 0;
	close(fd);
	return r;
}

/* Its only peer has a name: nothing may go out before somebody says where it is. */
static void test_down_until_endpoint(void **state)
{
	char reason[WIREGUARD_REASON_MAX];
	struct config_wireguard *config;
	struct wireguard *w;
	struct addr addr;

	config = make_config(1, 2);
	config->listen_port = PORT;
	config->peers[0].address = "peer.example";
	config->peers[0].allowed_ips[0] = prefix("0.0.0.0", 0);
	config->peers[0].allowed_ips[1] = prefix("::", 0);
	w = make(config);
	assert_false(wireguard_is_up(w));
	assert_null(strstr(run("ip -j link show %s", name), "\"UP\""));
	assert_null(strstr(run("ip -j rule; ip -j -6 rule"), name));
	assert_int_equal(dial(AF_INET, "198.51.100.1"), -ENETUNREACH);
	assert_int_equal(dial(AF_INET6, "2001:db8:1::1"), -ENETUNREACH);

	assert_int_equal(addr_parse("192.0.2.9", 5000, &addr), 0);
	assert_int_equal(wireguard_set_endpoint(w, 0, &addr, reason), 0);
	assert_true(wireguard_is_up(w));
	assert_has(run("ip -j link show %s", name), "\"UP\"");
	assert_int_equal(count(run("ip -j rule; ip -j -6 rule"), name), 2);
	assert_int_equal(dial(AF_INET, "198.51.100.1"), -EINPROGRESS);
	assert_int_equal(dial(AF_INET6, "2001:db8:1::1"), -EINPROGRESS);
	assert_int_equal(wireguard_set_endpoint(w, 0, &addr, reason), 0);
	assert_int_equal(count(run("ip -j rule; ip -j -6 rule"), name), 2);
	wireguard_free(w);
	free_config(config);
	assert_nothing_left();
}

static void test_process_ends(void **state)
{
	char reason[WIREGUARD_REASON_MAX] = "";
	struct config_wireguard *config;
	struct pollfd poll_fd = { .events = POLLIN };
	struct wireguard *w;
	struct addr addr;

	config = make_config(1, 1);
	w = make(config);
	poll_fd.fd = wireguard_pidfd(w);
	assert_true(poll_fd.fd >= 0);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	assert_false(wireguard_has_ended(w, reason));
	kill(w->pid, SIGKILL);
	assert_int_equal(poll(&poll_fd, 1, 3000), 1);
	assert_true(wireguard_has_ended(w, reason));
	assert_string_equal(reason, "wireguard-go was ended by signal 9");
	assert_true(wireguard_has_ended(w, reason));
	assert_int_equal(addr_parse("192.0.2.9", 5000, &addr), 0);
	assert_int_equal(wireguard_set_endpoint(w, 0, &addr, reason), -ESRCH);
	wireguard_free(w);
	assert_nothing_left();
	assert_int_equal(fcntl(poll_fd.fd, F_GETFD), -1);
	wireguard_free(make(config));
	free_config(config);
	assert_nothing_left();
}

static void test_many_ips(void **state)
{
	struct config_wireguard *config;
	struct wireguard *w;
	char command[64];

	config = make_config(1, MANY_IPS);
	w = make(config);
	assert_int_equal(count(get(), "allowed_ip="), MANY_IPS);
	snprintf(command, sizeof(command), "table %u", 0x5ea0000U + if_nametoindex(name));
	assert_int_equal(count(run("ip -j route show %s", command), "\"dst\""), MANY_IPS / 2);
	assert_int_equal(count(run("ip -j -6 route show %s", command), "\"dst\":\"fd98"),
			 MANY_IPS / 2);
	wireguard_free(w);
	free_config(config);
	assert_nothing_left();
}

static void test_name_is_taken(void **state)
{
	char reason[WIREGUARD_REASON_MAX] = "";
	struct config_wireguard *config;
	struct wireguard *w, *other = NULL;
	unsigned index;

	config = make_config(1, 1);
	w = make(config);
	index = if_nametoindex(name);
	assert_int_equal(wireguard_new(&other, config, MARK, reason), -EEXIST);
	assert_null(other);
	assert_has(reason, "ip link del");
	assert_int_equal(if_nametoindex(name), index);
	assert_int_equal(count(run("ip -j rule"), name), 1);
	get();
	wireguard_free(w);
	free_config(config);
	assert_nothing_left();
}

static void test_leftover_rules(void **state)
{
	struct config_wireguard *config;
	struct wireguard *w;

	run("ip rule add pref 540 oif %s lookup 98; ip rule add pref 540 oif %s lookup 99; "
	    "ip -6 rule add pref 540 oif %s lookup 99; ip rule add pref 540 oif other lookup 99",
	    name, name, name);
	config = make_config(1, 1);
	w = make(config);
	assert_int_equal(count(run("ip -j rule"), name), 1);
	assert_int_equal(count(run("ip -j -6 rule"), name), 1);
	assert_null(strstr(run("ip -j rule | grep -o '%s[^}]*'", name), "\"99\""));
	wireguard_free(w);
	free_config(config);
	assert_nothing_left();
	assert_has(run("ip -j rule"), "\"other\"");
	run("ip rule del pref 540 oif other");
}

static void test_rp_filter(void **state)
{
	static const struct {
		int all, by_default, after;
	} cases[] = { { 0, 0, 0 }, { 1, 0, 2 }, { 0, 1, 2 }, { 0, 2, 2 }, { 2, 1, 1 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config_wireguard *config = make_config(1, 1);
		struct wireguard *w;

		run("echo %d >/proc/sys/net/ipv4/conf/all/rp_filter; "
		    "echo %d >/proc/sys/net/ipv4/conf/default/rp_filter",
		    cases[i].all, cases[i].by_default);
		w = make(config);
		assert_int_equal(atoi(run("cat /proc/sys/net/ipv4/conf/%s/rp_filter", name)),
				 cases[i].after);
		wireguard_free(w);
		free_config(config);
	}
	run("echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter");
}

static void test_failures_leave_nothing(void **state)
{
	char reason[WIREGUARD_REASON_MAX] = "", path[1024];
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct config_wireguard *config;
	struct wireguard *w = NULL;
	int fd;

	config = make_config(1, 1);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	config->listen_port = PORT;
	assert_int_equal(wireguard_new(&w, config, MARK, reason), -EADDRINUSE);
	assert_has(reason, "listen_port");
	close(fd);
	assert_nothing_left();

	config->mtu = 1000000;
	assert_int_equal(wireguard_new(&w, config, MARK, reason), -EINVAL);
	assert_has(reason, "mtu");
	config->mtu = MTU;
	assert_nothing_left();

	run("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
	assert_int_equal(wireguard_new(&w, config, MARK, reason), -EACCES);
	assert_has(reason, "fd99::2/64");
	run("echo 0 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
	assert_nothing_left();

	snprintf(path, sizeof(path), "%s", getenv("PATH"));
	setenv("PATH", "/nonexistent::/proc", 1);
	assert_int_equal(wireguard_new(&w, config, MARK, reason), -ENOENT);
	assert_has(reason, "install the package wireguard-go, or a kernel with CONFIG_WIREGUARD");
	setenv("PATH", path, 1);
	assert_null(w);
	free_config(config);
	assert_nothing_left();
}

/* A daemon that cannot clean up: the process ends, the interface too, the next start is fine. */
static void test_killed(void **state)
{
	struct config_wireguard *config;
	int pipes[2], status;
	pid_t pid;
	char byte;

	config = make_config(1, 1);
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (!pid) {
		char reason[WIREGUARD_REASON_MAX];
		struct wireguard *w;

		if (!wireguard_new(&w, config, MARK, reason) && write(pipes[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	assert_int_not_equal(if_nametoindex(name), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	for (int i = 0; i < 300 && if_nametoindex(name); i++)
		usleep(10000);
	assert_int_equal(if_nametoindex(name), 0);
	assert_int_equal(count(run("ip -j rule"), name), 1);
	usleep(100000);
	wireguard_free(make(config));
	close(pipes[0]);
	free_config(config);
	assert_nothing_left();
}

static const char *look_around(void)
{
	if (geteuid() || unshare(CLONE_NEWNET))
		return "needs root and network namespaces";
	if (access("/dev/net/tun", R_OK | W_OK))
		return "no /dev/net/tun";
	if (system("command -v wireguard-go >/dev/null && command -v ip >/dev/null"))
		return "needs wireguard-go and ip";
	if (!system("ip link add wgtest type wireguard 2>/dev/null"))
		return "this kernel has WireGuard: wireguard-go would not be used";
	snprintf(name, sizeof(name), "swgt%d", getpid() % 1000000);
	return system("ip link set lo up") ? "no loopback" : NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interface),
		cmocka_unit_test(test_go_sees),
		cmocka_unit_test(test_down_until_endpoint),
		cmocka_unit_test(test_process_ends),
		cmocka_unit_test(test_many_ips),
		cmocka_unit_test(test_name_is_taken),
		cmocka_unit_test(test_leftover_rules),
		cmocka_unit_test(test_rp_filter),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_failures_leave_nothing),
	};
	const char *lacking = look_around();

	if (lacking) {
		print_message("%s\n", lacking);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
