/* The tool as people run it: what it prints and how it exits, against the server and against a false one. */
#include "base/log.h"
#include "base/names.h"
#include "kit.h"
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define WORDS_MAX 12

static char tool[4096];

struct result {
	int code; /* -1: not over, or by a signal */
	char out[65536], err[4096];
};

static int setup(void **state)
{
	struct kit *kit = malloc(sizeof(*kit));

	log_set_level(LOG_ERROR);
	kit_open(kit, NULL, 0);
	kit_serve(kit);
	*state = kit;
	return 0;
}

static int teardown(void **state)
{
	kit_close(*state);
	free(*state);
	return 0;
}

static pid_t start(const char *path, const char *words, int out, int err)
{
	char *argv[WORDS_MAX + 4] = { tool, (char *)"-s", (char *)path }, *copy = strdup(words),
			       *save = NULL;
	pid_t pid = fork();
	size_t count = 3;

	if (pid) {
		free(copy);
		return pid;
	}
	for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[count++] = w;
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	execv(tool, argv);
	_exit(99);
}

static int wait_for(struct kit *kit, pid_t pid)
{
	uint64_t end = clock_ms() + KIT_LIMIT_MS;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		assert_true(clock_ms() < end);
		kit_turn(kit);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void take_text(int fd, char *ret, size_t size)
{
	ssize_t n = pread(fd, ret, size - 1, 0);

	assert_true(n >= 0);
	ret[n] = 0;
	close(fd);
}

static void run(struct kit *kit, const char *words, struct result *ret)
{
	int out = memfd_create("out", 0), err = memfd_create("err", 0);

	ret->code = wait_for(kit, start(kit->path, words, out, err));
	take_text(out, ret->out, sizeof(ret->out));
	take_text(err, ret->err, sizeof(ret->err));
}

static unsigned count_lines(const char *text)
{
	unsigned count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

struct code_case {
	const char *words;
	int code;
	const char *out, *err; /* a part of it; NULL: nothing at all */
};

static void expect_codes(struct kit *kit, const struct code_case *cases, size_t count)
{
	struct result got;

	for (size_t i = 0; i < count; i++) {
		run(kit, cases[i].words, &got);
		if (got.code != cases[i].code ||
		    (cases[i].out ? !strstr(got.out, cases[i].out) : *got.out) ||
		    (cases[i].err ? !strstr(got.err, cases[i].err) : *got.err))
			fail_msg("%s: %d\n%s\n%s", cases[i].words, got.code, got.out, got.err);
	}
}

static void test_codes(void **state)
{
	static const struct code_case cases[] = {
		{ "version", 0, "seamd " SEAM_VERSION "\n", NULL },
		{ "status", 0, "sockmap    not used: relay.method is copy\n", NULL },
		{ "flows list", 0, "ID  STATE  SOURCE", NULL },
		{ "flows list --source ::1 --method splice --outbound direct", 0, "METHOD", NULL },
		{ "interfaces", 0,
		  "NAME  INDEX  TYPE      STATE         MTU  DEFAULT  ADDRESSES\n"
		  "wan0      2  ethernet  UP           1500  v4       10.0.0.1/24 fe80::1/64\n"
		  "wg?       3  other     NO-CARRIER   1420  v6       \n"
		  "lan0     17  ethernet  DOWN        65536  -        \n",
		  NULL },
		{ "interfaces -j", 0, "[{\"name\":\"wan0\",\"index\":2,", NULL },
		{ "interfaces wan0", 2, NULL, "seamctl: one word too many \"wan0\"\n" },
		{ "interface", 2, NULL, "did you mean \"interfaces\"?" },
		{ "metrics", 0, "\n# EOF\n", NULL },
		{ "log warn", 0, "log level warn, was error\n", NULL },
		{ "log error", 0, "log level error, was warn\n", NULL },
		{ "help", 0, "flows kill ID", NULL },
		{ "-h", 0, "usage: seamctl", NULL },
		{ "flows kill 3 --help", 0, "usage: seamctl", NULL },
		{ "-j version", 0, "{\"version\":\"" SEAM_VERSION "\",\"protocol\":1}\n", NULL },
		{ "version -p", 0, "{\n  \"version\": ", NULL },
		{ "flows list -j", 0, "[]\n", NULL },
		{ "flows kill 3", 1, NULL, "seamctl: no flow 3\n" },
		{ "log loud", 1, NULL, "seamctl: no level \"loud\"" },
		{ "flows list --method splic", 1, NULL, "did you mean \"splice\"?" },
		{ "", 2, NULL, "usage: seamctl" },
		{ "statsu", 2, NULL, "did you mean \"status\"?" },
		{ "flows lst", 2, NULL, "did you mean \"flows list\"?" },
		{ "flows", 2, NULL, "flows list, flows show, flows kill, flows watch" },
		{ "flows kill", 2, NULL, "seamctl: flows kill takes the operand ID\n" },
		{ "flows kill 3x", 2, NULL, "seamctl: not a number \"3x\"\n" },
		{ "flows kill 99999999999999999999", 2, NULL, "not a number" },
		{ "flows kill 3 4", 2, NULL, "seamctl: one word too many \"4\"\n" },
		{ "status --source ::1", 2, NULL, "seamctl: takes no filters \"status\"\n" },
		{ "status --colour", 2, NULL, "colour" },
		{ "log \xff", 2, NULL, "not UTF-8" },
		{ "\033[2J", 2, NULL, "\"?[2J\"" },
	};

	expect_codes(*state, cases, ARRAY_SIZE(cases));
}

static void test_routing_codes(void **state)
{
	static const struct code_case cases[] = {
		{ "outbounds list", 0,
		  "TAG      TYPE    MEMBERS  WAY\n"
		  "direct   direct  -        direct\n"
		  "stopped  block   -        stopped\n",
		  NULL },
		{ "explain tcp 10.0.0.1 10.0.0.2", 0,
		  "rule      none (route.final): route\n"
		  "outbound  direct\n"
		  "target    10.0.0.2:443\n",
		  NULL },
		{ "explain tcp ::1 [::2]:80 --mark 0x10 --dscp 7 --domain a.test -j", 0,
		  "{\"steps\":[],\"rule\":-1,\"action\":\"route\",\"outbound\":\"direct\",", NULL },
		{ "explain tcp 10.0.0.1", 2, NULL,
		  "seamctl: explain takes the operand DST[:PORT]\n" },
		{ "explain tcp ::1 ::2 ::3", 2, NULL, "one word too many \"::3\"\n" },
		{ "explain tcp ::1 ::2 --mark x", 2, NULL, "not a number \"x\"\n" },
		{ "explain tcp ::1 ::2 --method copy", 2, NULL,
		  "seamctl: explain does not take --method\n" },
		{ "explain tcp ::1 ::2 --protocol htp", 1, NULL, "did you mean \"http\"?" },
		{ "outbounds select direct", 2, NULL, "takes the operand TAG\n" },
		{ "outbounds select direct x", 1, NULL, "only a selector" },
		{ "outbounds test", 1, NULL, "nothing is dialed from here" },
		{ "outbounds test direct --url x", 1, NULL, "nothing is dialed from here" },
		{ "outbounds", 2, NULL, "outbounds list, outbounds select, outbounds test" },
	};

	expect_codes(*state, cases, ARRAY_SIZE(cases));
}

/* Exactly one line, whichever way nobody answers. */
static void test_daemon_down(void **state)
{
	struct kit *kit = *state;
	char expected[256];
	struct result got;
	int dead = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	ctl_server_free(kit->server);
	kit->server = NULL;
	run(kit, "status", &got);
	snprintf(expected, sizeof(expected),
		 "seamctl: no daemon answers on %s: No such file or directory\n", kit->path);
	assert_string_equal(got.err, expected);
	assert_int_equal(got.code, 69);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", kit->path);
	assert_int_equal(bind(dead, (struct sockaddr *)&sa, sizeof(sa)), 0);
	run(kit, "-j flows list", &got);
	snprintf(expected, sizeof(expected),
		 "seamctl: no daemon answers on %s: Connection refused\n", kit->path);
	assert_string_equal(got.err, expected);
	assert_string_equal(got.out, "");
	assert_int_equal(got.code, 69);
	close(dead);
}

/* A daemon that takes one connection, reads, and says @answer. */
static void run_against(struct kit *kit, const char *answer, const char *words, struct result *ret)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int out = memfd_create("out", 0), err = memfd_create("err", 0), listener, fd;
	char path[90], request[4096];
	pid_t pid;

	snprintf(path, sizeof(path), "%s/false", kit->folder);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 1), 0);
	pid = start(path, words, out, err);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(recv(fd, request, sizeof(request), 0) > 0);
	assert_int_equal(send(fd, answer, strlen(answer), MSG_NOSIGNAL), strlen(answer));
	close(fd);
	ret->code = wait_for(kit, pid);
	take_text(out, ret->out, sizeof(ret->out));
	take_text(err, ret->err, sizeof(ret->err));
	close(listener);
	unlink(path);
}

#define FLOW                                                                                    \
	"{\"id\":7,\"state\":\"relay\",\"inbound\":\"in\",\"source\":\"10.0.0.1:1\","           \
	"\"destination\":"                                                                      \
	"\"10.0.0.2:443\",\"outbound\":\"%s\",\"method\":\"sockmap\",\"refused\":\"\",\"up\":{" \
	"\"bytes\":1000,"                                                                       \
	"\"kernel_bytes\":24,\"gate\":\"open\",\"spills\":0},\"down\":{\"bytes\":1572864,"      \
	"\"kernel_bytes\":0,"                                                                   \
	"\"gate\":\"spilled\",\"spills\":2},\"age_ms\":3661000}"

static void test_columns(void **state)
{
	char answer[4096];
	struct result got;

	snprintf(answer, sizeof(answer), "{\"v\":1,\"ok\":true,\"data\":[" FLOW "," FLOW "]}\n",
		 "\u00fcber", "a");
	run_against(*state, answer, "flows list", &got);
	assert_string_equal(got.out, "ID  STATE  SOURCE      DESTINATION   OUTBOUND  METHOD     UP "
				     "    DOWN  KERNEL    AGE  NOTE\n"
				     " 7  relay  10.0.0.1:1  10.0.0.2:443  \u00fcber      sockmap  "
				     "1000  1.5 MiB      24  1h01m"
				     "  up open, down spilled\n"
				     " 7  relay  10.0.0.1:1  10.0.0.2:443  a         sockmap  1000 "
				     " 1.5 MiB      24  1h01m"
				     "  up open, down spilled\n");
	assert_int_equal(got.code, 0);
}

static void expect_no_controls(const char *text)
{
	for (; *text; text++) {
		assert_true((unsigned char)*text >= ' ' || *text == '\n');
		assert_int_not_equal(*text, 0x7f);
		assert_true((unsigned char)text[0] != 0xc2 || (unsigned char)text[1] >= 0xa0);
	}
}

/* Whoever chose a name does not get at the terminal. */
static void test_terminal(void **state)
{
	static const char evil[] = "\\u001b[31m\\u009b2J\x7f\\u0007\\n";
	static const char *const words[] = { "flows list", "-j flows list" };
	char answer[4096];
	struct result got;

	snprintf(answer, sizeof(answer), "{\"v\":1,\"ok\":true,\"data\":[" FLOW "]}\n", evil);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		run_against(*state, answer, words[i], &got);
		assert_int_equal(got.code, 0);
		assert_true(strlen(got.out) > 100);
		assert_int_equal(count_lines(got.out), i ? 1 : 2);
		if (!i)
			expect_no_controls(got.out);
		assert_null(strchr(got.out, '\033'));
		assert_null(strstr(got.out, "\xc2\x9b"));
	}
	snprintf(answer, sizeof(answer), "{\"v\":1,\"ok\":false,\"error\":\"%s\"}\n", evil);
	run_against(*state, answer, "status", &got);
	assert_int_equal(got.code, 1);
	assert_int_equal(count_lines(got.err), 1);
	expect_no_controls(got.err);
	snprintf(answer, sizeof(answer), "{\"v\":1,\"ok\":true,\"data\":\"%s\"}\n", evil);
	run_against(*state, answer, "metrics", &got);
	expect_no_controls(got.out);
}

static void test_explain(void **state)
{
	static const char answer[] =
		"{\"v\":1,\"ok\":true,\"data\":{\"steps\":[{\"rule\":0,\"action\":\"sniff\","
		"\"result\":\"tls example.org\"}],\"rule\":3,\"action\":\"route\","
		"\"outbound\":\"proxy\",\"chain\":[\"proxy\",\"fibre\"],\"options\":"
		"{\"tls_fragment\":true,\"fallback_delay_ms\":300},\"target\":"
		"\"example.org:443\",\"sockets\":{\"routing_mark\":1514,\"bind_interface\":"
		"\"eth1\",\"network_type\":[\"wifi\",\"other\"]}}}\n";
	struct result got;

	run_against(*state, answer, "explain tcp ::1 ::1", &got);
	assert_string_equal(got.out,
			    "rule      0 (route.rules[0]): sniff: tls example.org\n"
			    "rule      3 (route.rules[3]): route\n"
			    "outbound  proxy -> fibre\n"
			    "target    example.org:443\n"
			    "options   tls_fragment, fallback_delay_ms 300\n"
			    "sockets   mark 0x5ea, interface eth1, network_type wifi+other\n");
	run_against(*state,
		    "{\"ok\":true,\"data\":{\"steps\":[],\"rule\":0,\"action\":\"reject\","
		    "\"method\":\"drop\"}}\n",
		    "explain tcp ::1 ::1", &got);
	assert_string_equal(got.out, "rule      0 (route.rules[0]): reject, drop\n");
}

static void test_outbounds(void **state)
{
	static const char tests[] =
		"{\"ok\":true,\"data\":[{\"outbound\":\"fibre\",\"ok\":true,\"ms\":23,"
		"\"status\":204,\"error\":\"\"},{\"outbound\":\"lte\",\"ok\":false,\"ms\":0,"
		"\"status\":0,\"error\":\"connect: Connection refused\",\"attempts\":[{\"step\":"
		"\"A\",\"address\":\"\",\"interface\":\"\",\"result\":\"ok\"},{\"step\":"
		"\"connect\",\"address\":\"192.0.2.1:80\",\"interface\":\"wwan0\",\"result\":"
		"\"refused\"}]}]}\n";
	static const char list[] =
		"{\"ok\":true,\"data\":[{\"tag\":\"fast\",\"type\":\"urltest\",\"chain\":"
		"[\"fast\",\"b\"],\"selected\":\"b\",\"members\":[{\"tag\":\"a\",\"test\":"
		"\"failed\",\"delay_ms\":null},{\"tag\":\"b\",\"test\":\"ok\",\"delay_ms\":5},"
		"{\"tag\":\"c\",\"test\":\"none\",\"delay_ms\":null}]}]}\n";
	struct result got;

	run_against(*state, tests, "outbounds test", &got);
	assert_string_equal(got.out, "OUTBOUND  MS  STATUS  RESULT\n"
				     "fibre     23     204  -\n"
				     "lte        -       -  connect: Connection refused; A: ok; "
				     "192.0.2.1:80 by wwan0: refused\n");
	run_against(*state, list, "outbounds list", &got);
	assert_string_equal(got.out, "TAG   TYPE     MEMBERS               WAY\n"
				     "fast  urltest  a failed, b* 5 ms, c  fast -> b\n");
}

static void test_watch(void **state)
{
	char answer[4096];
	struct result got;

	snprintf(answer, sizeof(answer),
		 "{\"v\":1,\"ok\":true,\"data\":{}}\n{\"event\":\"open\"," FLOW
		 "\n{\"event\":\"lost\",\"count\":3}\n"
		 "{\"event\":\"close\",\"reason\":\"done\"," FLOW "\n",
		 "a", "b");
	for (char *brace = answer; (brace = strstr(brace, ",{\"id\""));)
		brace[1] = ' '; /* FLOW goes on with an object that was begun */
	run_against(*state, answer, "flows watch", &got);
	assert_string_equal(got.out,
			    "open  #7 10.0.0.1:1 -> 10.0.0.2:443 a sockmap\nlost  3 events\n"
			    "close #7 10.0.0.1:1 -> 10.0.0.2:443 b sockmap done, up 1000, down 1.5 "
			    "MiB, 1h01m\n");
	assert_int_equal(got.code, 69); /* the daemon went away */
	assert_int_equal(count_lines(got.err), 1);
	run_against(*state, answer, "flows watch -j", &got);
	assert_int_equal(count_lines(got.out), 3);
}

static void test_bad_daemons(void **state)
{
	static const struct {
		const char *answer;
		int code;
	} cases[] = {
		{ "hello\n", 1 },
		{ "[]\n", 1 },
		{ "{}\n", 1 },
		{ "{\"ok\":true}\n", 1 },
		{ "{\"ok\":tr", 69 },
		{ "\n", 1 },
		{ "{\"ok\":true,\"data\":null}\n", 0 },
	};
	static const char *const words[] = {
		"status",         "flows list",     "flows kill 3",        "metrics",
		"version",        "log warn",       "-j status",           "explain tcp a b",
		"outbounds list", "outbounds test", "outbounds select a b"
	};
	struct result got;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t j = 0; j < ARRAY_SIZE(words); j++) {
			run_against(*state, cases[i].answer, words[j], &got);
			if (got.code != cases[i].code)
				fail_msg("%s: %s: %d\n%s", cases[i].answer, words[j], got.code,
					 got.err);
		}
}

/* The reader of a watch goes away: the tool ends without a word at the next event. */
static void test_broken_pipe(void **state)
{
	int pipes[2], err = memfd_create("err", 0), status, full = open("/dev/full", O_WRONLY);
	char text[4096];
	struct result got;
	pid_t pid;

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	close(pipes[0]);
	signal(SIGPIPE, SIG_IGN);
	pid = start(((struct kit *)*state)->path, "metrics", pipes[1], err);
	while (waitpid(pid, &status, WNOHANG) == 0)
		kit_turn(*state);
	take_text(err, text, sizeof(text));
	assert_string_equal(text, "");
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
	close(pipes[1]);

	err = memfd_create("err", 0);
	got.code = wait_for(*state, start(((struct kit *)*state)->path, "metrics", full, err));
	take_text(err, got.err, sizeof(got.err));
	assert_string_equal(got.err, "seamctl: standard output: No space left on device\n");
	assert_int_equal(got.code, 1);
	close(full);
}

/* It lies beside this test. */
static int find_tool(void)
{
	char self[2048];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return -errno;
	self[n] = 0;
	snprintf(tool, sizeof(tool), "%s/seamctl", dirname(self));
	return access(tool, X_OK) ? -errno : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_codes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_routing_codes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_daemon_down, setup, teardown),
		cmocka_unit_test_setup_teardown(test_columns, setup, teardown),
		cmocka_unit_test_setup_teardown(test_terminal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_explain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outbounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_daemons, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_pipe, setup, teardown),
	};

	if (find_tool()) {
		printf("%s is not there\n", tool);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
