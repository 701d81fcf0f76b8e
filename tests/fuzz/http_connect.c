/* However the answer of a proxy is cut, it comes to the same, and to nothing but a blank line's end or a
 * refusal; the first byte says where to cut. */
#include "talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct talk hear(const uint8_t *data, size_t size, size_t first, size_t chunk)
{
	const struct handshake_ops *ops = &http_connect_handshake;
	const struct handshake_target target = { .domain = "a.test", .addr.port = 443 };
	void *state = malloc(ops->state_size);
	struct talk talk;

	if (!state || ops->init(state, &target, &(struct handshake_config){ 0 }))
		abort();
	talk = talk_to(ops->step, state, data + 1, size - 1, first, chunk);
	free(state);
	return talk;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct talk whole, cut;

	if (!size)
		return 0;
	whole = hear(data, size, size, size);
	cut = hear(data, size, data[0], 1 + size / 256);
	if (!talk_same(&whole, &cut) || whole.taken > HANDSHAKE_IN_MAX ||
	    (whole.result == HANDSHAKE_DONE && data[whole.taken] != '\n') ||
	    ((whole.result >= HANDSHAKE_REFUSED) != (whole.why != NULL)))
		abort();
	return 0;
}
