/* stream - one end of a flow: a connected non-blocking socket on a loop. Its owner pins and closes it,
 * everybody else borrows. */
#pragma once
#include "loop/loop.h"

struct stream {
	int fd; /* -1: none */
	struct loop_io io;
};
#define STREAM_NULL                          \
	{                                    \
		.fd = -1, .io = LOOP_IO_NULL \
	}

enum side { CLIENT, UPSTREAM, SIDES };

/* Takes @fd over on success. */
int stream_init(struct stream *stream, struct loop *loop, int fd, loop_io_fn *fn);
/* Takes over a descriptor that another io of the same loop has registered. */
int stream_init_moved(struct stream *stream, struct loop_io *io, loop_io_fn *fn);
/* Takes it off the loop; it stays open. */
void stream_detach(struct stream *stream);
/* Closes it; with @reset by RST, whatever is queued. No descriptor is fine. */
void stream_close(struct stream *stream, bool reset);
