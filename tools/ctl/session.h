/* session - a connection to the daemon: one line of JSON out, lines of JSON in. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

struct session {
	const char *path;
	int fd;
	char *data;
	size_t at, len, size; /* [at, len) was received and not yet read */
};

/* 0, or the exit code, and the reason was printed. */
int session_open(struct session *session, const char *path);
void session_close(struct session *session);
int session_send(struct session *session, const json_t *request);
/* The next line. 0, or the exit code; @ret is a new reference. */
int session_receive(struct session *session, json_t **ret);
/* No limit on the time until the next line any more. */
void session_wait(struct session *session);
