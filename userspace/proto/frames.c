#include "proto/frames.h"
#include <assert.h>
#include <string.h>

uint8_t *frames_space(struct frames *frames, size_t *ret_size)
{
	size_t left = frames_left(frames);

	if (frames->at)
		memmove(frames->data, frames->data + frames->at, left);
	frames->at = 0;
	frames->end = left;
	*ret_size = sizeof(frames->data) - left;
	return frames->data + left;
}

void frames_add(struct frames *frames, size_t len)
{
	assert(len <= sizeof(frames->data) - frames->end);
	frames->end += len;
}

void frames_skip(struct frames *frames, size_t len)
{
	assert(len <= frames_left(frames));
	frames->at += len;
}

bool frames_next(struct frames *frames, const uint8_t **ret_data, size_t *ret_len)
{
	const uint8_t *head = frames->data + frames->at;
	size_t left = frames_left(frames), len;

	if (left < FRAME_HEAD)
		return false;
	len = (size_t)head[0] << 8 | head[1];
	if (left < FRAME_HEAD + len)
		return false;
	frames->at += FRAME_HEAD + len;
	*ret_data = head + FRAME_HEAD;
	*ret_len = len;
	return true;
}
