/* However the answer of a server is cut, it comes to the same; the first byte says where to cut. */
#include "talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct talk hear(const uint8_t *data, size_t size, size_t first, size_t chunk)
{
	static const uint8_t uuid[16];
	const struct handshake_ops *ops = &vless_handshake;
	const struct handshake_target target = { .domain = "a.test", .addr.port = 443 };
	void *state = malloc(ops->state_size);
	struct talk talk;

	if (!state || ops->init(state, &target, &(struct handshake_config){ .uuid = uuid }))
		abort();
	talk = talk_to(ops->answer, state, data + 1, size - 1, first, chunk);
	free(state);
	return talk;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct talk whole, cut;

	if (!size)
		return 0;
	whole = hear(data, size, size, size);
	cut = hear(data, size, data[0], 1);
	if (!talk_same(&whole, &cut) || whole.said_len ||
	    (whole.result == HANDSHAKE_DONE && whole.taken != 2U + data[2]))
		abort();
	return 0;
}
