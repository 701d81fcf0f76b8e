/* Connections: their limits, their ends, and the socket at its path. */
#include "ctl/client.h"
#include "kit.h"
#include <fcntl.h>
#include <sys/stat.h>

#define VERSION "{\"v\":1,\"cmd\":\"version\"}"

static int setup(void **state)
{
	struct kit *kit = malloc(sizeof(*kit));

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

static void expect_version(struct kit *kit, int fd)
{
	json_decref(kit_data(kit, fd, VERSION));
}

static void receive_answers(struct kit *kit, int fd, int count)
{
	for (int i = 0; i < count; i++) {
		json_t *answer = kit_receive(kit, fd);

		assert_non_null(answer);
		json_decref(answer);
	}
}

static void test_byte_by_byte(void **state)
{
	static const char request[] = "{\"v\":1,\"cmd\":\"status\"}\r\n";
	int fd = kit_connect(*state);

	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		assert_int_equal(kit_send(*state, fd, &request[i], 1), 0);
		kit_turn(*state);
	}
	receive_answers(*state, fd, 1);
	close(fd);
}

static void test_many_in_one(void **state)
{
	static const char request[] = VERSION "\n{\"v\":1,\"cmd\":\"status\"}\n" VERSION "\n{";
	int fd = kit_connect(*state);

	assert_int_equal(kit_send(*state, fd, request, sizeof(request) - 1), 0);
	receive_answers(*state, fd, 3);
	close(fd);
}

/* Who stops sending is answered, then the connection ends. */
static void test_half_close(void **state)
{
	static const char request[] = "{\"v\":1,\"cmd\":\"status\"}\n" VERSION "\nrest";
	int fd = kit_connect(*state);

	assert_int_equal(kit_send(*state, fd, request, sizeof(request) - 1), 0);
	shutdown(fd, SHUT_WR);
	receive_answers(*state, fd, 2);
	kit_expect_end(*state, fd);
	close(fd);
}

static void test_longest_request(void **state)
{
	int fd = kit_connect(*state);
	char *request = malloc(SEAM_CTL_REQUEST_MAX + 1);
	size_t bytes = strlen(VERSION);

	memset(request, ' ', SEAM_CTL_REQUEST_MAX + 1);
	memcpy(request, VERSION, bytes);
	request[SEAM_CTL_REQUEST_MAX - 1] = '\n';
	assert_int_equal(kit_send(*state, fd, request, SEAM_CTL_REQUEST_MAX), 0);
	receive_answers(*state, fd, 1);

	request[SEAM_CTL_REQUEST_MAX - 1] = ' ';
	request[SEAM_CTL_REQUEST_MAX] = '\n';
	assert_int_equal(kit_send(*state, fd, request, SEAM_CTL_REQUEST_MAX + 1), 0);
	json_t *answer = kit_receive(*state, fd);

	assert_string_equal(kit_string(answer, "error"), "the request is too long");
	json_decref(answer);
	kit_expect_end(*state, fd);
	close(fd);
	free(request);
}

static void test_endless_request(void **state)
{
	int fd = kit_connect(*state), r = 0;
	char block[4096];

	memset(block, '[', sizeof(block));
	for (int i = 0; i < 1000 && !r; i++)
		r = kit_send(*state, fd, block, sizeof(block));
	assert_true(r == -EPIPE || r == -ECONNRESET);
	close(fd);
	fd = kit_connect(*state);
	expect_version(*state, fd);
	close(fd);
}

static void test_too_many(void **state)
{
	int fds[CLIENTS_MAX], extra;
	json_t *answer;

	for (int i = 0; i < CLIENTS_MAX; i++) {
		fds[i] = kit_connect(*state);
		expect_version(*state, fds[i]);
	}
	extra = kit_connect(*state);
	answer = kit_receive(*state, extra);
	assert_true(json_is_false(json_object_get(answer, "ok")));
	assert_string_equal(kit_string(answer, "error"), "there are 16 clients already");
	json_decref(answer);
	kit_expect_end(*state, extra);
	close(extra);
	close(fds[3]);
	kit_settle(*state);
	fds[3] = kit_connect(*state);
	for (int i = 0; i < CLIENTS_MAX; i++) {
		expect_version(*state, fds[i]);
		close(fds[i]);
	}
}

/* Time passes, without the waiting. */
static void pass(struct kit *kit, uint64_t ms)
{
	timer_wheel_advance(&kit->loop.timers, kit->loop.timers.now_ms + ms);
	kit_settle(kit);
}

static void test_idle(void **state)
{
	int silent = kit_connect(*state), slow = kit_connect(*state), busy = kit_connect(*state);
	int watcher = kit_connect(*state);

	json_decref(kit_data(*state, watcher, "{\"v\":1,\"cmd\":\"flows watch\"}"));
	kit_settle(*state);
	for (int i = 0; i < 4; i++) {
		expect_version(*state, busy);
		assert_int_equal(kit_send(*state, slow, "{", 1), 0);
		pass(*state, 3000);
	}
	kit_expect_end(*state, silent);
	kit_expect_end(*state, slow); /* a byte now and then is not a request */
	expect_version(*state, busy);
	pass(*state, 60000);
	kit_expect_end(*state, busy);
	assert_int_equal(recv(watcher, (char[1]){ 0 }, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	close(silent);
	close(slow);
	close(busy);
	close(watcher);
}

/* Asks and asks and never reads: it is not listened to any more, and dropped in the end. */
static void test_slow_reader(void **state)
{
	static const char request[] = "{\"v\":1,\"cmd\":\"help\"}\n";
	int fd = kit_connect(*state), other = kit_connect(*state), sent = 0, blocked = 0;

	while (blocked < 50) {
		ssize_t n = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);

		sent += n > 0;
		blocked = n > 0 ? 0 : blocked + 1;
		assert_true(sent < 100000);
		kit_turn(*state);
	}
	expect_version(*state, other);
	pass(*state, 11000);
	assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	close(fd);
	close(other);
}

/* The same, but it reads in time: every answer arrives. */
static void test_reader_late(void **state)
{
	int fd = kit_connect(*state), count = 0;

	while (count < 500 && send(fd, "{\"v\":1,\"cmd\":\"help\"}\n", 21, MSG_NOSIGNAL) == 21)
		count++;
	kit_settle(*state);
	receive_answers(*state, fd, count);
	close(fd);
}

static void test_client_vanishes(void **state)
{
	int fd;

	for (int i = 0; i < 50; i++) {
		fd = kit_connect(*state);
		(void)!send(fd, "{\"v\":1,\"cmd\":\"flows watch\"}\n{\"v\"", 33, MSG_NOSIGNAL);
		if (i % 2)
			kit_turn(*state);
		close(fd);
		if (i % 3)
			kit_turn(*state);
	}
	kit_settle(*state);
	fd = kit_connect(*state);
	expect_version(*state, fd);
	close(fd);
}

static void test_mode(void **state)
{
	const struct kit *kit = *state;
	char folder[80];
	struct stat st;

	assert_int_equal(lstat(kit->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660);
	snprintf(folder, sizeof(folder), "%s/run", kit->folder);
	assert_int_equal(lstat(folder, &st), 0);
	assert_int_equal(st.st_mode & 07777 & ~0750, 0);
}

static int serve_again(struct kit *kit, char *reason)
{
	struct ctl_server *second = NULL;
	int r = ctl_server_new(&second, kit->path, &kit->context, reason);

	assert_true(r || second);
	ctl_server_free(second);
	return r;
}

static void test_second_daemon(void **state)
{
	char reason[256];
	int fd;

	assert_int_equal(serve_again(*state, reason), -EADDRINUSE);
	assert_string_equal(reason, "another seamd answers there");
	fd = kit_connect(*state);
	expect_version(*state, fd);
	close(fd);
}

/* Left by a daemon that was killed. */
static void test_stale(void **state)
{
	struct kit *kit = *state;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int dead = socket(AF_UNIX, SOCK_STREAM, 0), fd;

	ctl_server_free(kit->server);
	assert_int_equal(access(kit->path, F_OK), -1);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", kit->path);
	assert_int_equal(bind(dead, (struct sockaddr *)&sa, sizeof(sa)), 0);
	listen(dead, 1);
	close(dead);
	assert_int_equal(access(kit->path, F_OK), 0);
	kit_serve(kit);
	fd = kit_connect(kit);
	expect_version(kit, fd);
	close(fd);
}

static void test_not_a_socket(void **state)
{
	struct kit *kit = *state;
	char reason[256];
	int fd;

	ctl_server_free(kit->server);
	kit->server = NULL;
	fd = open(kit->path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(serve_again(kit, reason), -EEXIST);
	assert_int_equal(access(kit->path, F_OK), 0);
}

/* What took the place of the socket meanwhile is left alone. */
static void test_taken_over(void **state)
{
	struct kit *kit = *state;
	int fd;

	unlink(kit->path);
	fd = open(kit->path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	ctl_server_free(kit->server);
	kit->server = NULL;
	assert_int_equal(access(kit->path, F_OK), 0);
}

static void test_paths(void **state)
{
	struct kit *kit = *state, other = *kit;
	char longest[200], reason[256];
	size_t len = strlen(kit->folder);

	memset(longest, 'x', sizeof(longest));
	memcpy(longest, kit->folder, len);
	longest[len] = '/';
	longest[107] = 0;
	assert_int_equal(ctl_server_new(&other.server, longest, &kit->context, reason), 0);
	assert_int_equal(access(longest, F_OK), 0);
	ctl_server_free(other.server);
	assert_int_equal(access(longest, F_OK), -1);
	longest[107] = 'x';
	longest[108] = 0;
	assert_int_equal(ctl_server_new(&other.server, longest, &kit->context, reason),
			 -ENAMETOOLONG);
	assert_int_equal(
		ctl_server_new(&other.server, "/nonexistent/deep/ctl.sock", &kit->context, reason),
		-ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_byte_by_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_in_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_longest_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endless_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reader_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_vanishes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_daemon, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_a_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_taken_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
