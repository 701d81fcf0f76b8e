/* However a stream of frames is cut, the same datagrams come of it: the first byte says where, the second in
 * pieces of what size. Nothing is read past what has come. */
#include <stdlib.h>
#include <string.h>
#include "proto/frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
	uint64_t count, bytes, left, hash;
};

static void take(struct frames *frames, struct sum *sum)
{
	const uint8_t *data;
	size_t len;

	while (frames_next(frames, &data, &len)) {
		sum->count++;
		sum->bytes += len;
		for (size_t i = 0; i < len; i++)
			sum->hash = (sum->hash ^ data[i]) * 1099511628211U;
		sum->hash = (sum->hash ^ len) * 1099511628211U;
	}
}

static struct sum read_all(const uint8_t *data, size_t size, size_t first, size_t piece)
{
	struct frames *frames = malloc(sizeof(*frames));
	struct sum sum = { 0 };
	size_t part, space;

	if (!frames)
		abort();
	frames->at = frames->end = 0;
	for (size_t at = 0; at < size; at += part) {
		uint8_t *to = frames_space(frames, &space);

		if (!space || to < frames->data || to + space > frames->data + FRAME_MAX)
			abort();
		part = at ? piece : first;
		part = part < size - at ? part : size - at;
		part = part < space ? part : space;
		memcpy(to, data + at, part);
		frames_add(frames, part);
		take(frames, &sum);
	}
	sum.left = frames_left(frames);
	free(frames);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sum whole, cut;

	if (size < 2)
		return 0;
	whole = read_all(data + 2, size - 2, size, size);
	cut = read_all(data + 2, size - 2, 1U + data[0], 1U + data[1]);
	if (memcmp(&whole, &cut, sizeof(whole)) != 0 ||
	    whole.bytes + FRAME_HEAD * whole.count + whole.left != size - 2)
		abort();
	return 0;
}
