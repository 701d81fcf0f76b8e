#include "session.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#define ANSWER_SECONDS 15 /* the daemon drops a request after 10 */
#define FIRST_SIZE     65536U

static int unavailable(const struct session *s, const char *what, const char *why)
{
	fprintf(stderr, "seamctl: %s %s: %s\n", what, s->path, why);
	return EX_UNAVAILABLE;
}

static void limit_wait(const struct session *s, time_t seconds)
{
	const struct timeval limit = { .tv_sec = seconds };

	(void)setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

int session_open(struct session *s, const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	*s = (struct session){ .path = path, .fd = -1 };
	if (strlen(path) >= sizeof(sa.sun_path))
		return unavailable(s, "no daemon answers on", strerror(ENAMETOOLONG));
	memcpy(sa.sun_path, path, strlen(path) + 1);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd >= 0)
		limit_wait(s, ANSWER_SECONDS);
	if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&sa, sizeof(sa)))
		return unavailable(s, "no daemon answers on", strerror(errno));
	return 0;
}

void session_close(struct session *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->data);
	*s = (struct session){ .fd = -1 };
}

void session_wait(struct session *s)
{
	limit_wait(s, 0);
}

static int send_all(const struct session *s, const char *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = send(s->fd, data, bytes, MSG_NOSIGNAL);

		/* It may have been turned away with a reason, which can still be read */
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return 0;
		if (n < 0)
			return unavailable(s, "cannot ask the daemon on", strerror(errno));
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

int session_send(struct session *s, const json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t bytes = text ? strlen(text) : 0;
	int r;

	if (!text) {
		fprintf(stderr, "seamctl: out of memory\n");
		return EXIT_FAILURE;
	}
	text[bytes] = '\n'; /* in the place of the NUL */
	r = send_all(s, text, bytes + 1);
	free(text);
	return r;
}

static int receive_more(struct session *s)
{
	ssize_t n;

	if (s->at) {
		memmove(s->data, s->data + s->at, s->len - s->at);
		s->len -= s->at;
		s->at = 0;
	}
	if (s->len == s->size) {
		size_t size = s->size ? s->size * 2 : FIRST_SIZE;
		char *data = realloc(s->data, size);

		if (!data) {
			fprintf(stderr, "seamctl: out of memory\n");
			return EXIT_FAILURE;
		}
		s->data = data;
		s->size = size;
	}
	do
		n = recv(s->fd, s->data + s->len, s->size - s->len, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return unavailable(s, "no answer from the daemon on",
				   strerror(errno == EAGAIN ? ETIMEDOUT : errno));
	if (!n)
		return unavailable(s, "no answer from the daemon on", "it closed the connection");
	s->len += (size_t)n;
	return 0;
}

static int receive_line(struct session *s, size_t *ret_bytes)
{
	size_t seen = 0;

	for (;;) {
		const char *newline = NULL;
		int r;

		if (s->len - s->at > seen)
			newline = memchr(s->data + s->at + seen, '\n', s->len - s->at - seen);
		if (newline) {
			*ret_bytes = (size_t)(newline - s->data) - s->at;
			return 0;
		}
		seen = s->len - s->at;
		r = receive_more(s);
		if (r)
			return r;
	}
}

int session_receive(struct session *s, json_t **ret)
{
	size_t bytes;
	int r = receive_line(s, &bytes);

	if (r)
		return r;
	*ret = json_loadb(s->data + s->at, bytes, 0, NULL);
	s->at += bytes + 1;
	if (*ret)
		return 0;
	fprintf(stderr, "seamctl: what answers on %s does not speak JSON\n", s->path);
	return EXIT_FAILURE;
}
