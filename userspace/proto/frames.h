/* frames - datagrams in a stream, each behind its length in two bytes in network order: VLESS with command 2,
 * in both directions. A reader holds as much as one frame may be, however the stream is cut. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEAD     2
#define FRAME_DATA_MAX 65535
#define FRAME_MAX      (FRAME_HEAD + FRAME_DATA_MAX)

static inline void frame_head(uint8_t *ret, size_t len)
{
	ret[0] = (uint8_t)(len >> 8);
	ret[1] = (uint8_t)len;
}

/* Only @at and @end need to be zeroed. */
struct frames {
	size_t at, end; /* what has come and was not taken */
	uint8_t data[FRAME_MAX];
};

static inline size_t frames_left(const struct frames *frames)
{
	return frames->end - frames->at;
}

/* Where the next bytes of the stream go, after frames_next() has said that there is no frame: *@ret_size > 0.
 * What was taken before is gone. */
uint8_t *frames_space(struct frames *frames, size_t *ret_size);
void frames_add(struct frames *frames, size_t len); /* that many are there now */
/* Bytes that are no frames, at the front. */
void frames_skip(struct frames *frames, size_t len);
/* The next whole one, which is taken; it may be empty. False: more has to come. */
bool frames_next(struct frames *frames, const uint8_t **ret_data, size_t *ret_len);
