#include "net/stream.h"
#include <unistd.h>
#include "net/sock.h"

int stream_init(struct stream *stream, struct loop *loop, int fd, loop_io_fn *fn)
{
	int r = loop_io_init(&stream->io, loop, fd, fn);

	if (!r)
		stream->fd = fd;
	return r;
}

int stream_init_moved(struct stream *stream, struct loop_io *io, loop_io_fn *fn)
{
	int r = loop_io_move(&stream->io, io, fn);

	if (!r)
		stream->fd = stream->io.fd;
	return r;
}

void stream_detach(struct stream *stream)
{
	loop_io_deinit(&stream->io);
}

void stream_close(struct stream *stream, bool reset)
{
	if (stream->fd < 0)
		return;
	if (reset)
		(void)sock_set_reset_on_close(stream->fd);
	if (stream->io.loop)
		loop_io_close(&stream->io);
	else
		close(stream->fd);
	stream->fd = -1;
}
