/* A socket is handed to a service, which may agree, refuse, say nothing or be away. */
#include "common.h"
#include <sys/stat.h>
#include <sys/un.h>
#include "net/protect.h"

static struct loop loop;
static char folder[] = "/tmp/seam-protect-XXXXXX", path[64];
static int service, subject; /* the listener, and what is to be exempt */

struct handed {
	struct protect protect;
	unsigned done;
	int err;
};

static void on_done(struct protect *protect, int err)
{
	struct handed *handed = container_of(protect, struct handed, protect);

	handed->done++;
	handed->err = err;
	assert_null(protect->io.loop); /* it is over */
}

static int listen_at(const char *where, int backlog)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", where);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	if (backlog >= 0)
		assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* What came by SCM_RIGHTS; -1: nothing. */
static int receive_fd(int peer)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} control;
	char bytes[8];
	struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *header;
	int fd = -1;

	assert_int_equal(recvmsg(peer, &msg, MSG_CMSG_CLOEXEC), 1); /* one byte */
	header = CMSG_FIRSTHDR(&msg);
	assert_non_null(header);
	assert_int_equal(header->cmsg_type, SCM_RIGHTS);
	assert_int_equal(header->cmsg_len, CMSG_LEN(sizeof(int)));
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

static bool same_socket(int a, int b)
{
	struct stat one, two;

	assert_int_equal(fstat(a, &one), 0);
	assert_int_equal(fstat(b, &two), 0);
	return one.st_ino == two.st_ino && one.st_dev == two.st_dev;
}

/* The service's end of a new request, with the descriptor taken. */
static int taken(struct handed *handed)
{
	int peer, fd;

	*handed = (struct handed){ 0 };
	assert_int_equal(protect_start(&handed->protect, &loop, path, subject, on_done), 0);
	peer = accept(service, NULL, NULL);
	assert_true(peer >= 0);
	fd = receive_fd(peer);
	assert_true(same_socket(fd, subject));
	close(fd);
	assert_int_equal(loop_run_once(&loop, 0), 0);
	assert_int_equal(handed->done, 0);
	return peer;
}

static void is_done(struct handed *handed, int err)
{
	assert_int_equal(loop_run_once(&loop, 1000), 0);
	assert_int_equal(loop_run_once(&loop, 0), 0);
	assert_int_equal(handed->done, 1);
	assert_int_equal(handed->err, err);
}

static void test_agrees(void **state)
{
	static const char answers[] = { 0, 1, '!', -1 };

	for (size_t i = 0; i < sizeof(answers); i++) {
		struct handed handed;
		int peer = taken(&handed);

		assert_int_equal(write(peer, &answers[i], 1), 1);
		is_done(&handed, 0);
		protect_cancel(&handed.protect); /* over is fine */
		close(peer);
	}
}

static void test_closes(void **state)
{
	struct handed handed;

	close(taken(&handed));
	is_done(&handed, -EACCES);
}

/* The byte was not read: a reset, not an end. */
static void test_closes_unread(void **state)
{
	struct handed handed = { 0 };

	assert_int_equal(protect_start(&handed.protect, &loop, path, subject, on_done), 0);
	close(accept(service, NULL, NULL));
	assert_int_equal(handed.done, 0);
	is_done(&handed, -EACCES);
}

static void test_cancel(void **state)
{
	struct handed handed;
	int peer = taken(&handed);
	char byte;

	protect_cancel(&handed.protect);
	assert_int_equal(read(peer, &byte, 1), 0); /* its end is closed */
	assert_int_equal(send(peer, "", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(loop_run_once(&loop, 0), 0);
	assert_int_equal(handed.done, 0);
	close(peer);

	handed = (struct handed){ 0 };
	protect_cancel(&handed.protect); /* not started */
	handed.protect.io = (struct loop_io)LOOP_IO_NULL;
	protect_cancel(&handed.protect);
}

static void test_cancel_with_answer_pending(void **state)
{
	struct handed handed;
	int peer = taken(&handed);

	assert_int_equal(write(peer, "", 1), 1);
	protect_cancel(&handed.protect);
	assert_int_equal(loop_run_once(&loop, 0), 0);
	assert_int_equal(handed.done, 0);
	close(peer);
}

static void refuses(const char *where, int err)
{
	struct handed handed = { 0 };

	assert_int_equal(protect_start(&handed.protect, &loop, where, subject, on_done), err);
	assert_int_equal(loop_run_once(&loop, 0), 0);
	assert_int_equal(handed.done, 0);
	protect_cancel(&handed.protect);
}

static void test_away(void **state)
{
	char where[200];
	int fd;

	snprintf(where, sizeof(where), "%s/none", folder);
	refuses(where, -ENOENT);
	refuses(folder, -ECONNREFUSED); /* no socket */
	snprintf(where, sizeof(where), "%s/deaf", folder);
	fd = listen_at(where, -1);
	refuses(where, -ECONNREFUSED);
	close(fd);
	unlink(where);
	memset(where, 'a', sizeof(where) - 1);
	where[sizeof(where) - 1] = '\0';
	refuses(where, -ENAMETOOLONG);
}

static void test_backlog_is_full(void **state)
{
	struct handed handed[3] = { 0 };
	char where[80];
	int fd, r = 0, started = 0;

	snprintf(where, sizeof(where), "%s/busy", folder);
	fd = listen_at(where, 0);
	while (started < 3 && !r) {
		r = protect_start(&handed[started].protect, &loop, where, subject, on_done);
		started += !r;
	}
	assert_int_equal(r, -EAGAIN);
	for (int i = 0; i < started; i++)
		protect_cancel(&handed[i].protect);
	close(fd);
	unlink(where);
}

static int set_up(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/service", folder);
	service = listen_at(path, 8);
	subject = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return loop_init(&loop);
}

static int tear_down(void **state)
{
	assert_int_equal(get_option(subject, SOL_SOCKET, SO_TYPE), SOCK_STREAM); /* was borrowed */
	close(service);
	close(subject);
	loop_deinit(&loop);
	unlink(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_agrees),
		cmocka_unit_test(test_closes),
		cmocka_unit_test(test_closes_unread),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cancel_with_answer_pending),
		cmocka_unit_test(test_away),
		cmocka_unit_test(test_backlog_is_full),
	};
	unsigned fds = open_fds();
	int failed = cmocka_run_group_tests(tests, set_up, tear_down);

	if (open_fds() != fds) {
		(void)fprintf(stderr, "%u descriptors before, %u after\n", fds, open_fds());
		return 1;
	}
	return failed;
}
